package hostile

import (
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// TestGrantsRefusedByTheNode: whoever may speak to the node in control's place can
// bring it nothing that control did not sign for it. Each refusal has its code, one
// log line at the node and one audit row at control.
func TestGrantsRefusedByTheNode(t *testing.T) {
	for _, tc := range []struct {
		name, code string
		known      bool // it names the open session
		line       func(w *world, session string) (kind string, token []byte)
	}{
		{"forged", "forged", true, func(w *world, s string) (string, []byte) { return "grant", spoil(w.nodeGrant(s, nil)) }},
		{"forged, no session", "forged", false, func(w *world, s string) (string, []byte) { return "grant", spoil(w.nodeGrant(s, nil)) }},
		{"unsigned", "unsigned", true, func(w *world, s string) (string, []byte) {
			return "grant", rewrite(w.nodeGrant(s, nil), func(h, _ map[string]any) { h["alg"] = "none" })
		}},
		{"a stranger's", "unknown_signer", true, func(w *world, s string) (string, []byte) {
			return "grant", must(w.grant(other, s).Sign(stranger("boothwire")))
		}},
		{"wrong node", "wrong_node", true, func(w *world, s string) (string, []byte) {
			return "grant", w.nodeGrant(s, func(g *keys.Grant) { g.Rev, g.Far.Node, g.Device = 1, "wg-2", victim })
		}},
		{"wrong deployment", "wrong_issuer", true, func(w *world, s string) (string, []byte) {
			return "grant", must(w.grant(other, s).Sign(vouched(w.root(), "elsewhere")))
		}},
		{"wrong kind", "wrong_kind", true, func(w *world, s string) (string, []byte) { return "grant", down(w.signer(), victim, s) }},
		{"a grant as an end", "wrong_kind", true, func(w *world, s string) (string, []byte) { return "end", w.nodeGrant(s, nil) }},
		{"wrong device", "wrong_device", true, func(w *world, s string) (string, []byte) {
			return "grant", w.nodeGrant(s, func(g *keys.Grant) { g.Rev = 9 })
		}},
		{"expired", "expired", true, func(w *world, s string) (string, []byte) {
			return "grant", w.nodeGrant(s, func(g *keys.Grant) { g.End = time.Now().Add(-time.Second) })
		}},
		{"replayed", "replayed", true, func(w *world, s string) (string, []byte) {
			return "grant", w.nodeGrant(s, func(g *keys.Grant) { g.Device = victim })
		}},
		{"prekey used twice", "used_prekey", false, func(w *world, s string) (string, []byte) {
			return "grant", w.nodeGrant(s, func(g *keys.Grant) { g.Prekey = w.spent })
		}},
		{"session over", "closed", false, func(w *world, _ string) (string, []byte) {
			return "grant", w.nodeGrant(w.over, nil)
		}},
		{"forged end", "forged", true, func(w *world, s string) (string, []byte) { return "end", spoil(down(w.signer(), victim, s)) }},
		{"a stranger's end", "unknown_signer", true, func(w *world, s string) (string, []byte) {
			return "end", down(stranger("boothwire"), victim, s)
		}},
		{"truncated", "malformed", true, func(w *world, s string) (string, []byte) {
			b := w.nodeGrant(s, nil)
			return "grant", b[:len(b)/2]
		}},
		{"no token", "malformed", true, func(*world, string) (string, []byte) { return "grant", []byte("hello") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, config{})
			w.yesterday()
			c, err := w.connect(victim, patience)
			if err != nil {
				t.Fatalf("%v\n%s", err, w.describe())
			}
			session, device := c.s.ID(), victim
			if !tc.known {
				session, device = "s-1", ""
			}
			before := settle(w)
			kind, token := tc.line(w, session)
			w.line.say(kind, session, token)
			var rows []client.Audit
			w.eventually("an audit row", func() bool { rows = w.refusals(); return len(rows) > 0 })
			unchanged(t, before, settle(w))
			for range 50 {
				w.line.say(kind, session, token)
			}
			w.eventually("all are counted", func() bool { rows = w.refusals(); return len(rows) != 1 || rows[0].Count >= 51 })
			unchanged(t, before, settle(w))
			if len(rows) != 1 || rows[0].What != "node_refused" || rows[0].Who != nodeName || rows[0].Node != nodeName || rows[0].Device != device || rows[0].Code != tc.code || rows[0].Count != 51 {
				t.Errorf("audited as %+v, want %s", rows, tc.code)
			}
			if with, all := lines(w.nodeLogs, "refused", tc.code); with != 1 || all != 1 {
				t.Errorf("%d log lines, %d with %s", all, with, tc.code)
			}
			if err := c.echo(); err != nil {
				t.Errorf("the open session: %v", err)
			}
			c.close()
			w.idle(victim)
			w.works(other)
		})
	}
}

// nodeGrant is a grant for the other kiosk that control might have signed.
func (w *world) nodeGrant(session string, change func(*keys.Grant)) []byte {
	g := w.grant(other, session)
	if change != nil {
		change(g)
	}
	return must(g.Sign(w.signer()))
}
