package hostile

import (
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// TestGrantsRefusedByTheNode: whoever may speak to the node in control's place can
// bring it nothing that control did not sign for it. Each refusal has its code, one
// log line at the node and one audit row at control.
func TestGrantsRefusedByTheNode(t *testing.T) {
	t.Parallel()
	cases := []struct {
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
	}
	w := newWorld(t, config{})
	w.yesterday()
	c, err := w.connect(victim, patience)
	if err != nil {
		t.Fatalf("%v\n%s", err, w.describe())
	}
	type kind struct{ device, code string }
	known := make(map[kind]int) // refusals so far
	codes := make(map[string]bool)
	const times = 50
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			session, k := c.s.ID(), kind{victim, tc.code}
			if !tc.known {
				session, k.device = "s-1", ""
			}
			before := settle(w)
			what, token := tc.line(w, session)
			for range times {
				w.line.say(what, session, token)
			}
			known[k] += times
			codes[tc.code] = true
			count := func() (rows, n int) {
				for _, r := range w.refusals() {
					if r.What == "node_refused" && r.Who == nodeName && r.Node == nodeName && r.Device == k.device && r.Code == k.code {
						rows, n = rows+1, n+r.Count
					}
				}
				return rows, n
			}
			w.eventually("an audit row", func() bool { _, n := count(); return n >= known[k] })
			unchanged(t, before, settle(w))
			if rows, n := count(); rows != 1 || n != known[k] {
				t.Errorf("%d in %d rows with %s, want %d in one", n, rows, tc.code, known[k])
			}
			if with, _ := lines(w.nodeLogs, "refused", tc.code); with != 1 {
				t.Errorf("%d log lines with %s", with, tc.code)
			}
		})
		if t.Failed() {
			return
		}
	}
	if rows := w.refusals(); len(rows) != len(known) {
		t.Errorf("audited %+v, want %v", rows, known)
	}
	if _, all := lines(w.nodeLogs, "refused", ""); all != len(codes) {
		t.Errorf("%d log lines for %d codes", all, len(codes))
	}
	if err := c.echo(); err != nil {
		t.Errorf("the open session: %v", err)
	}
	c.close()
	w.idle(victim)
	w.works(other)
}

// nodeGrant is a grant for the other kiosk that control might have signed.
func (w *world) nodeGrant(session string, change func(*keys.Grant)) []byte {
	g := w.grant(other, session)
	if change != nil {
		change(g)
	}
	return must(g.Sign(w.signer()))
}
