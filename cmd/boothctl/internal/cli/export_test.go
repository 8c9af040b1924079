package cli

import (
	"errors"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/operator"
)

func TestWGQuick(t *testing.T) {
	key, node := keys.NewPrivateKey(), keys.NewPrivateKey().Public()
	g := &keys.Grant{
		Session: "s1", Device: "kiosk-1", Addresses: []netip.Addr{netip.MustParseAddr("10.166.0.1")}, Idle: 15 * time.Minute,
		Far: keys.FarEnd{Node: "wg-1", Key: node, Proof: netip.MustParseAddr("10.166.255.1"),
			Endpoints:         []netip.AddrPort{netip.MustParseAddrPort("203.0.113.30:51820")},
			OperatorEndpoints: []netip.AddrPort{netip.MustParseAddrPort("203.0.113.30:51821"), netip.MustParseAddrPort("[2001:db8::1]:51821")}},
		Operators: []keys.Operator{{ID: "o1", Key: key.Public(), Address: netip.MustParseAddr("10.166.128.1")}},
	}
	c := tunnel.ForOperator(g, key)
	c.Far.Allowed = append(c.Far.Allowed, g.Far.Proof)
	got := wgQuick(&operator.Peer{Session: client.Session{Ends: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, Grant: g, Config: c})
	want := `# kiosk-1 at 10.166.0.1, through node wg-1: session s1.
# Good until 2026-01-02T03:04:05Z, until boothctl close kiosk-1, or until 15m0s without packets
# to the device; boothctl extend kiosk-1 2h prolongs it. Then this file opens nothing.
[Interface]
PrivateKey = ` + key.Expose() + `
Address = 10.166.128.1/32
MTU = 1280

[Peer]
PublicKey = ` + node.String() + `
Endpoint = 203.0.113.30:51821
# or: Endpoint = [2001:db8::1]:51821
AllowedIPs = 10.166.0.1/32, 10.166.255.1/32
PersistentKeepalive = 25
`
	if got != want {
		t.Errorf("wrote\n%s", got)
	}
}

// A file that is there is not written to, and wakes nobody; one for a session that does
// not come to be does not stay.
func TestExportToFile(t *testing.T) {
	there := filepath.Join(t.TempDir(), "there.conf")
	if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	never := func(_ http.ResponseWriter, r *http.Request) { t.Errorf("control was asked: %s %s", r.Method, r.URL) }
	got := ctl(t, never, "session", "export", "--output", there, "kiosk-1")
	if got.code != exitFailed || !strings.Contains(got.err, "exists") {
		t.Errorf("got %+v", got)
	}
	if text, _ := os.ReadFile(there); string(text) != "mine" {
		t.Errorf("it holds %q", text)
	}
	fresh := filepath.Join(t.TempDir(), "fresh.conf")
	got = ctl(t, refuse(409, "busy", "another session"), "session", "export", "--output", fresh, "kiosk-1")
	if got.code != exitFailed || !strings.Contains(got.err, "busy") {
		t.Errorf("got %+v", got)
	}
	if _, err := os.Stat(fresh); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file is left: %v", err)
	}
	for _, args := range [][]string{{"kiosk 1"}, {"kiosk-1", "--port", "0"}, {"kiosk-1", "--for", "-1s"}, {"kiosk-1", "--end-to-end"}, {}} {
		if got := ctl(t, never, append([]string{"session", "export"}, args...)...); got.code != exitUsage {
			t.Errorf("%q: %+v", args, got)
		}
	}
}
