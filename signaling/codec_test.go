package signaling_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/signaling"
)

func code(err error) string {
	var c interface{ Code() string }
	if errors.As(err, &c) {
		return c.Code()
	}
	return ""
}

func TestParseCommand(t *testing.T) {
	long := strings.Repeat("a", 65)
	for _, c := range []struct {
		in   string
		code string
		want signaling.Command
	}{
		{in: `{"action":"vpn_up","server":"wg-bj-01"}`, want: signaling.Command{Action: signaling.Up, Server: "wg-bj-01"}},
		{in: `{"action":"VPN_CONNECT"}`, want: signaling.Command{Action: signaling.Up}},
		{in: `{"action":"VPN_DISCONNECT"}`, want: signaling.Command{Action: signaling.Down}},
		{in: `{"action":"vpn_down","extra":{"a":[1]}}`, want: signaling.Command{Action: signaling.Down}},
		{in: ` {"action":"offer","session":"s","offer":"aGk"} `, want: signaling.Command{Action: signaling.Offer, Session: "s", Offer: []byte("hi")}},
		{in: `{"action":"roots","id":"c.1_-","token":"{\"lists\":[]}"}`, want: signaling.Command{Action: signaling.Roots, ID: "c.1_-", Token: []byte(`{"lists":[]}`)}},
		{in: ``, code: "malformed"},
		{in: `[]`, code: "malformed"},
		{in: `{"action":"vpn_up"}x`, code: "malformed"},
		{in: `{"action":"vpn_up"`, code: "truncated"},
		{in: `{"Action":"vpn_up"}`, code: "malformed"},
		{in: `{"action":"vpn_down","Action":"vpn_up"}`, code: "malformed"},
		{in: `{"action":"vpn_down","action":"vpn_up"}`, code: "duplicate_key"},
		{in: `{"action":"ask","x":{"a":1,"a":2}}`, code: "duplicate_key"},
		{in: `{"action":"ask","x":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `}`, code: "too_deep"},
		{in: `{}`, code: "malformed"},
		{in: `{"action":"Vpn_Up"}`, code: "unsupported"},
		{in: `{"action":"reboot"}`, code: "unsupported"},
		{in: `{"action":"vpn_up","server":"a/b"}`, code: "malformed"},
		{in: `{"action":"vpn_up","server":"` + long + `"}`, code: "malformed"},
		{in: `{"action":"vpn_up","session":"#"}`, code: "malformed"},
		{in: `{"action":"vpn_up","id":"+"}`, code: "malformed"},
		{in: `{"action":"vpn_up","id":1}`, code: "malformed"},
		{in: `{"action":"vpn_up","token":"a b"}`, code: "malformed"},
		{in: `{"action":"offer","offer":"aGk="}`, code: "malformed"},
		{in: `{"action":"vpn_up","pad":"` + strings.Repeat("x", signaling.MaxCommand) + `"}`, code: "oversized"},
		{in: strings.Repeat("x", 1<<20), code: "oversized"},
	} {
		got, err := signaling.ParseCommand([]byte(c.in))
		if code(err) != c.code || (err == nil) != (c.code == "") || (got == nil) != (err != nil) {
			t.Errorf("%.80q: %v, want code %q", c.in, err, c.code)
			continue
		}
		if err != nil {
			continue
		}
		if !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.in, *got, c.want)
		}
		if again, err := signaling.ParseCommand(command(*got)); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s: written and read again: %+v, %v", c.in, again, err)
		}
	}
}

func TestParseStatus(t *testing.T) {
	long := strings.Repeat("a", 65)
	for _, c := range []struct {
		in   string
		code string
		want signaling.Status
	}{
		{in: `{"vpn":"connected","ip":"10.166.0.5"}`, want: signaling.Status{VPN: signaling.Connected, IP: netip.MustParseAddr("10.166.0.5")}},
		{in: `{"vpn":"offline"}`, want: signaling.Status{VPN: signaling.Offline}},
		{in: `{"vpn":"connecting","ip":"","ladder":[["received",0],["nova",1500,"x"]],"next_s":900,"rtt_us":41}`, want: signaling.Status{
			VPN: signaling.Connecting, Next: 15 * time.Minute, RTT: 41 * time.Microsecond,
			Ladder: []signaling.Step{{Stage: signaling.Received}, {Stage: "nova", After: 1500 * time.Microsecond, Code: "x"}}}},
		{in: `{"vpn":"connected","rx":4503599627370496,"tx":1,"direct_s":16777216,"relay_s":3}`, want: signaling.Status{
			VPN: signaling.Connected, Rx: 1 << 52, Tx: 1, Direct: 1 << 24 * time.Second, Relay: 3 * time.Second}},
		{in: `{"vpn":"connected","nat":"open/open"}`, want: signaling.Status{VPN: signaling.Connected, NAT: "open/open"}},
		{in: `{"vpn":"connected","nat":"of_a_later_release"}`, want: signaling.Status{VPN: signaling.Connected, NAT: "of_a_later_release"}},
		{in: `{"vpn":"connected","nat":"a/b/c"}`, code: "malformed"},
		{in: `{"vpn":"connected","nat":"/open"}`, code: "malformed"},
		{in: `{"vpn":"connected","nat":"open/"}`, code: "malformed"},
		{in: `{"vpn":"connected","nat":"Open"}`, code: "malformed"},
		{in: `{"vpn":"connected","nat":"<b>"}`, code: "malformed"},
		{in: `{"vpn":"connected","nat":1}`, code: "malformed"},
		{in: `{"vpn":"connected","nat":"` + long + `"}`, code: "malformed"},
		{in: `{"vpn":"connected","checks":[["ssh","ok"],["tcp_8080","fail","refused","127.0.0.1:8080"],["flux","melted","x_1","[fd00::1]:22 +3, -4/8",{"since":1},"<b>"]]}`,
			want: signaling.Status{VPN: signaling.Connected, Checks: []signaling.Check{{Name: "ssh", State: "ok"},
				{Name: "tcp_8080", State: "fail", Code: "refused", Detail: "127.0.0.1:8080"}, {Name: "flux", State: "melted", Code: "x_1", Detail: "[fd00::1]:22 +3, -4/8"}}}},
		{in: `{"vpn":"connected","checks":[` + strings.Repeat(`["a","ok"],`, 16) + `["a","ok"]]}`, code: "malformed"},
		{in: `{"vpn":"connected","checks":["ssh"]}`, code: "malformed"},
		{in: `{"vpn":"connected","checks":[["ssh"]]}`, code: "malformed"},
		{in: `{"vpn":"connected","checks":[["","ok"]]}`, code: "malformed"},
		{in: `{"vpn":"connected","checks":[["ssh",""]]}`, code: "malformed"},
		{in: `{"vpn":"connected","checks":[["SSH","ok"]]}`, code: "malformed"},
		{in: `{"vpn":"connected","checks":[["ssh","ok","<b>"]]}`, code: "malformed"},
		{in: `{"vpn":"connected","checks":[["ssh","ok","x","<b>"]]}`, code: "malformed"},
		{in: `{"vpn":"connected","checks":[["ssh","ok","x","\u202e"]]}`, code: "malformed"},
		{in: `{"vpn":"connected","checks":[["ssh","ok","x","` + long + `"]]}`, code: "malformed"},
		{in: `{"vpn":"connected","checks":[["` + long + `","ok"]]}`, code: "malformed"},
		{in: `{"vpn":"connected","checks":[{"name":"ssh"}]}`, code: "malformed"},
		{in: `{"vpn":"connected","checks":[["ssh","ok",1]]}`, code: "malformed"},
		{in: `{"vpn":"connected","rx":4503599627370497}`, code: "malformed"},
		{in: `{"vpn":"connected","tx":-1}`, code: "malformed"},
		{in: `{"vpn":"connected","tx":1e3}`, code: "malformed"},
		{in: `{"vpn":"connected","direct_s":16777217}`, code: "malformed"},
		{in: `{"vpn":"connected","relay_s":-1}`, code: "malformed"},
		{in: `{}`, code: "malformed"},
		{in: `{"vpn":"on fire"}`, code: "malformed"},
		{in: `{"VPN":"connected"}`, code: "malformed"},
		{in: `{"vpn":"connected","vpn":"failed"}`, code: "duplicate_key"},
		{in: `{"vpn":"connected","ip":"10.166.0"}`, code: "malformed"},
		{in: `{"vpn":"connected","ip":"fe80::1%eth0"}`, code: "malformed"},
		{in: `{"vpn":"connected","session":"a/b"}`, code: "malformed"},
		{in: `{"vpn":"connected","re":"+"}`, code: "malformed"},
		{in: `{"vpn":"connected","code":"<b>"}`, code: "malformed"},
		{in: `{"vpn":"connected","count":-1}`, code: "malformed"},
		{in: `{"vpn":"connected","rev":1.5}`, code: "malformed"},
		{in: `{"vpn":"connected","next_s":9223372036854775807}`, code: "malformed"},
		{in: `{"vpn":"connected","ladder":[["received"]]}`, code: "malformed"},
		{in: `{"vpn":"connected","ladder":[["received",-1]]}`, code: "malformed"},
		{in: `{"vpn":"connected","ladder":[["rec eived",1]]}`, code: "malformed"},
		{in: `{"vpn":"connected","ladder":[` + strings.Repeat(`["a",1],`, 32) + `["a",1]]}`, code: "malformed"},
		{in: `{"vpn":"connected","why":"` + strings.Repeat("x", signaling.MaxStatus) + `"}`, code: "oversized"},
		{in: `{"vpn":"connected","x":` + strings.Repeat(`{"a":`, 9) + `1` + strings.Repeat(`}`, 9) + `}`, code: "too_deep"},
	} {
		got, err := signaling.ParseStatus([]byte(c.in))
		if code(err) != c.code || (err == nil) != (c.code == "") || (got == nil) != (err != nil) {
			t.Errorf("%.80q: %v, want code %q", c.in, err, c.code)
			continue
		}
		if err == nil && !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.in, *got, c.want)
		}
	}
}

// golden are the messages of release 1: later releases must read them.
func golden() map[string]any {
	return map[string]any{
		"command-minimal-up.json":   signaling.Command{Action: signaling.Up, Server: "wg-bj-01"},
		"command-minimal-down.json": signaling.Command{Action: signaling.Down},
		"command-up.json":           signaling.Command{ID: "c1", Action: signaling.Up, Server: "wg-bj-01", Session: "s1", Token: []byte("aaa.bbb.ccc")},
		"command-roots.json":        signaling.Command{ID: "c2", Action: signaling.Roots, Token: []byte(`{"lists":["aaa.bbb.ccc","ddd.bbb.eee"]}`)},
		"command-offer.json":        signaling.Command{Action: signaling.Offer, Session: "s1", Offer: []byte{0, 1, 0xfe, 0xff}},
		"status-minimal.json":       signaling.Status{VPN: signaling.Connected, IP: netip.MustParseAddr("10.166.0.5")},
		"status-will.json":          signaling.Status{VPN: signaling.Offline},
		"status-document.json": signaling.Status{VPN: signaling.Connected, IP: netip.MustParseAddr("10.166.0.5"), Session: "s1",
			Prekeys: []byte("aaa.bbb.ccc"), Token: []byte("ddd.eee.fff")},
		"payload-document.json": signaling.Status{V: 1, Caps: []string{"netstack"}, Version: "1.0.0", VPN: signaling.Degraded,
			IP: netip.MustParseAddr("10.166.0.5"), Session: "s1", Rev: 2, Re: "c1", Why: "no echo for 3 s", Path: "direct",
			RTT: 41 * time.Millisecond, Next: 15 * time.Minute, Roots: 1,
			Ladder: []signaling.Step{{Stage: signaling.Received}, {Stage: signaling.Authorised, After: 212 * time.Microsecond}, {Stage: signaling.Ready, After: 61 * time.Millisecond}}},
		"payload-network.json": signaling.Status{V: 1, Caps: []string{"end_to_end"}, Version: "1.1.0", VPN: signaling.Disconnected,
			Next: 15 * time.Minute, Roots: 1, NAT: "endpoint_independent/address_and_port_dependent"},
		"payload-checks.json": signaling.Status{V: 1, Caps: []string{"end_to_end"}, Version: "1.2.0", VPN: signaling.Disconnected,
			Next: 15 * time.Minute, Roots: 1, Checks: []signaling.Check{
				{Name: "ssh", State: signaling.CheckOK, Code: "listening", Detail: "127.0.0.1:22"},
				{Name: "firewall", State: signaling.CheckUnknown, Code: "no_rights"}}},
		"payload-failed.json": signaling.Status{V: 1, VPN: signaling.Failed, Session: "s1", Rev: 1, Re: "c1", Code: "no_handshake",
			Ladder: []signaling.Step{{Stage: signaling.Received}, {Stage: signaling.Handshake, After: 20 * time.Second, Code: "no_handshake"}}},
		"payload-refusal.json": signaling.Status{V: 1, VPN: signaling.Disconnected, Re: "c9", Code: "forged", Count: 1},
	}
}

// TestGolden reads the messages of each release as they were written, and
// writes those of this one as they were.
func TestGolden(t *testing.T) {
	for name, want := range golden() {
		path := filepath.Join("testdata", "v1", name)
		if os.Getenv("BOOTHWIRE_GOLDEN") != "" {
			if err := os.WriteFile(path, append(must(json.Marshal(want)), '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got any
		switch want.(type) {
		case signaling.Command:
			c, err := signaling.ParseCommand(text)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = *c
		default:
			s, err := signaling.ParseStatus(text)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = *s
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read %+v, want %+v", name, got, want)
		}
		if b := must(json.Marshal(want)); !bytes.Equal(append(b, '\n'), text) {
			t.Errorf("%s: written as %s", name, b)
		}
	}
}

func seeds(f *testing.F, prefix string) {
	files, err := filepath.Glob("testdata/v1/" + prefix + "*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no golden messages", err)
	}
	for _, name := range files {
		f.Add(must(os.ReadFile(name)))
	}
}

// FuzzCommand: whatever is read is written so that it is read the same.
func FuzzCommand(f *testing.F) {
	seeds(f, "command")
	f.Add([]byte(`{"action":"vpn_down","Action":"vpn_up"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := signaling.ParseCommand(b)
		if err != nil {
			if code(err) == "" {
				t.Fatalf("no code: %v", err)
			}
			return
		}
		out, err := json.Marshal(c)
		if code(err) == "oversized" { // escapes can make it longer
			return
		}
		again, err := signaling.ParseCommand(out)
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("%q: read %+v, then %+v, %v", b, c, again, err)
		}
	})
}

// FuzzStatus: likewise.
func FuzzStatus(f *testing.F) {
	seeds(f, "status")
	seeds(f, "payload")
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := signaling.ParseStatus(b)
		if err != nil {
			if code(err) == "" {
				t.Fatalf("no code: %v", err)
			}
			return
		}
		out, err := json.Marshal(s)
		if code(err) == "oversized" {
			return
		}
		again, err := signaling.ParseStatus(out)
		if err != nil {
			t.Fatalf("%q: written as %q: %v", b, out, err)
		}
		if b2 := must(json.Marshal(again)); !bytes.Equal(b2, out) {
			t.Fatalf("%q: written as %q, then %q", b, out, b2)
		}
	})
}
