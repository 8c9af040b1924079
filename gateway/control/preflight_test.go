package control

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel/preflight"
)

// What a device found of its host is shown with the device, kept, and in the feed and in
// lists only as trouble.
func TestPreflight(t *testing.T) {
	w := newWorld(t, nil)
	var now atomic.Pointer[[]signaling.Check]
	say := func(list ...signaling.Check) { now.Store(&list) }
	say(signaling.Check{Name: "ssh", State: "ok", Code: "listening", Detail: "127.0.0.1:22"},
		signaling.Check{Name: "driver", State: "fail", Code: "no_driver"}, signaling.Check{Name: "flux", State: "melted"})
	b := w.booth("kiosk-1", true)
	b.cfg.Checks = func() []signaling.Check { return *now.Load() }
	b.serve().known()
	want := []client.Check{{Check: "ssh", State: "ok", Code: "listening", Detail: "127.0.0.1:22"},
		{Check: "driver", State: "fail", Code: "no_driver"}, {Check: "flux", State: "unknown"}}
	for _, when := range []string{"at once", "after a restart"} {
		d, err := w.admin.Device(t.Context(), "kiosk-1")
		if err != nil || !reflect.DeepEqual(d.Preflight, want) || !slices.Contains(d.Trouble, "preflight:driver") {
			t.Fatalf("%s: %+v, %v", when, d, err)
		}
		for d, err := range w.admin.Devices(t.Context(), client.Filter{}) {
			if err != nil || d.Preflight != nil || !slices.Contains(d.Trouble, "preflight:driver") {
				t.Errorf("%s, in the list: %+v, %v", when, d, err)
			}
		}
		w.restart()
	}
	// A device that says nothing of its host, as agents before did not.
	say()
	w.broker.Online("kiosk-1", false)
	w.broker.Online("kiosk-1", true)
	eventually(t, "that nothing is reported", func() bool {
		d, err := w.admin.Device(t.Context(), "kiosk-1")
		return err == nil && d.Preflight == nil && !slices.ContainsFunc(d.Trouble, func(code string) bool { return strings.HasPrefix(code, client.TroublePreflight) })
	})
}

// Packages that do not know each other have the same words.
func TestCheckStates(t *testing.T) {
	for ours, theirs := range map[string]preflight.State{signaling.CheckOK: preflight.OK, signaling.CheckWarn: preflight.Warn,
		signaling.CheckFail: preflight.Fail, signaling.CheckUnknown: preflight.Unknown} {
		if ours != string(theirs) {
			t.Errorf("%q is %q", ours, theirs)
		}
	}
}

// Whatever a device says of its host: what is shown of it is little, and plain.
func FuzzChecks(f *testing.F) {
	f.Add(`[["ssh","ok","listening","127.0.0.1:22"],["firewall","unknown","no_rights"]]`)
	f.Add(`[["rdp_settings","warn","no_nla"]]`)
	f.Add(`[["a","b","c","d","e"],["<b>","ok"],[1]]`)
	f.Fuzz(func(t *testing.T, list string) {
		st, err := signaling.ParseStatus(fmt.Appendf(nil, `{"vpn":"connected","checks":%s}`, list))
		if err != nil {
			return
		}
		d := &device{}
		d.checked(checksText(st.Checks))
		shown := checksOf(d.row.Checks)
		if len(shown) != len(st.Checks) || len(shown) > 16 || len(d.failing) > len(shown) || len(d.row.Checks) > signaling.MaxStatus {
			t.Fatalf("%+v became %+v", st.Checks, shown)
		}
		for _, c := range shown {
			plain := func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`<>&"'`, r) }
			if !slices.Contains([]string{"ok", "warn", "fail", "unknown"}, c.State) || len(c.Detail) > 64 ||
				strings.ContainsFunc(c.Check+c.State+c.Code+c.Detail, plain) {
				t.Fatalf("shown %+v", c)
			}
		}
	})
}

// What many devices say alike is there once, however long ago the first said it.
func TestChecksAreShared(t *testing.T) {
	text := checksText([]signaling.Check{{Name: "ssh", State: "ok", Code: "listening", Detail: "127.0.0.1:22"}})
	var first, second device
	first.checked(strings.Clone(text))
	for range 3 {
		runtime.GC()
	}
	second.checked(strings.Clone(text))
	if second.row.Checks != text || unsafe.StringData(first.row.Checks) != unsafe.StringData(second.row.Checks) {
		t.Error("it is there twice")
	}
}
