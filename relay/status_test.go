package relay_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/tunnel"
)

// Whoever looks at a tunnel's status sees why its relay carries nothing.
func TestTunnelShowsCodes(t *testing.T) {
	for want, change := range map[string]func(w *world, leg *keys.Relay){
		keys.ReasonExpired: func(w *world, leg *keys.Relay) {
			leg.Token = w.token(0, func(t *keys.Token) { t.End = time.Now().Add(-time.Minute) })
		},
		keys.ReasonWrongRelay: func(w *world, leg *keys.Relay) {
			leg.Token = w.token(0, func(t *keys.Token) { t.Relays = []string{"r-1"} })
		},
		"bad_proof":   func(w *world, _ *keys.Relay) { w.keys[0] = keys.NewPrivateKey() },
		"revoked":     func(w *world, _ *keys.Relay) { w.relays[0].srv.Revoke(w.session) },
		"unreachable": func(w *world, _ *keys.Relay) { w.relays[0].stop() },
		"malformed":   func(_ *world, leg *keys.Relay) { leg.URL = "relay.example.com" },
	} {
		t.Run(want, func(t *testing.T) {
			w := newWorld(t, 1)
			legs := w.list(0)[:1]
			change(w, &legs[0])
			near, far := netip.MustParseAddr("10.166.0.5"), netip.MustParseAddr("10.166.255.1")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			tn := must(tunnel.Up(ctx, &tunnel.Config{
				Role: tunnel.Operator, Key: w.keys[0], Addresses: []netip.Addr{near}, Mode: tunnel.Driverless,
				Far: tunnel.Peer{Key: w.keys[1].Public(), Allowed: []netip.Addr{far}, Proof: far},
				Paths: []tunnel.Path{{Kind: tunnel.Relay, Open: func(ctx context.Context, _ net.PacketConn) (net.Conn, error) {
					return relay.Dial(ctx, legs, w.keys[0], w.config())
				}}},
			}))
			defer tn.Close()
			w.wait("the code "+want, func() bool {
				ways := tn.Status().Ways
				return len(ways) == 1 && ways[0].State == tunnel.WayFailed && ways[0].Code == want
			})
		})
	}
}
