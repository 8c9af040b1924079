package hostile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/signalingtest"
)

// command sends the victim what a hostile broker might.
func (w *world) command(payload []byte) {
	w.medium.inject(signalingtest.Packet{Topic: "iot/" + victim + "/cmd", Payload: payload})
}

// up is a wake with a token.
func up(id string, token []byte) []byte {
	return command(signaling.Command{ID: id, Action: signaling.Up, Token: token})
}

// signed is a grant for the victim that control signed, changed as wanted.
func (w *world) signed(change func(*keys.Grant)) []byte {
	g := w.grant(victim, "s-1")
	if change != nil {
		change(g)
	}
	return must(g.Sign(w.signer()))
}

// root is the identity that vouches for control's signers.
func (w *world) root() *keys.Identity { return must(keys.OpenIdentity(w.store, "root")) }

// TestCommandsRefused: each with its own code, one log line at the device and one
// audit row at control, and nothing changed at either, nor at the node.
func TestCommandsRefused(t *testing.T) {
	for i, group := range grouped([]refusal{
		{"bare up", "unsigned", false, func(w *world) { w.command([]byte(`{"action":"vpn_up","server":"wg-1"}`)) }},
		{"bare down", "unsigned", true, func(w *world) { w.command([]byte(`{"action":"VPN_DISCONNECT"}`)) }},
		{"algorithm none", "unsigned", false, func(w *world) {
			w.command(up("c", rewrite(w.signed(nil), func(h, _ map[string]any) { h["alg"] = "none" })))
		}},
		{"forged", "forged", false, func(w *world) { w.command(up("c", spoil(w.signed(nil)))) }},
		{"forged payload", "forged", false, func(w *world) {
			w.command(up("c", rewrite(w.signed(nil), func(_, p map[string]any) {
				p["far"].(map[string]any)["endpoints"] = []string{w.trap.addr.String()}
			})))
		}},
		{"forged down", "forged", true, func(w *world) {
			id := w.kiosks[victim].agent.Status().Session.ID
			w.command(command(signaling.Command{ID: "c", Action: signaling.Down, Token: spoil(down(w.signer(), victim, id))}))
		}},
		{"a stranger's signature", "unknown_signer", false, func(w *world) {
			w.command(up("c", must(w.grant(victim, "s-1").Sign(stranger("boothwire")))))
		}},
		{"a stranger's down", "unknown_signer", true, func(w *world) {
			id := w.kiosks[victim].agent.Status().Session.ID
			w.command(command(signaling.Command{ID: "c", Action: signaling.Down, Token: down(stranger("boothwire"), victim, id)}))
		}},
		{"a signer for other things", "out_of_scope", false, func(w *world) {
			token := must(vouched(w.root(), "boothwire", keys.TypeRelay).Sign(keys.TypeRelay, payloadOf(w.signed(nil))))
			w.command(up("c", rewrite(token, func(h, _ map[string]any) { h["typ"] = keys.TypeGrant })))
		}},
		{"wrong device", "wrong_device", false, func(w *world) {
			w.command(up("c", must(w.grant(other, "s-1").Sign(w.signer()))))
		}},
		{"another's down", "wrong_device", true, func(w *world) {
			id := w.kiosks[victim].agent.Status().Session.ID
			w.command(command(signaling.Command{ID: "c", Action: signaling.Down, Token: down(w.signer(), other, id)}))
		}},
		{"wrong deployment", "wrong_issuer", false, func(w *world) {
			w.command(up("c", must(w.grant(victim, "s-1").Sign(vouched(w.root(), "elsewhere")))))
		}},
		{"wrong node", "node_not_allowed", false, func(w *world) {
			w.command(up("c", w.signed(func(g *keys.Grant) { g.Far.Node = "wg-evil" })))
		}},
		{"wrong port", "port_not_allowed", false, func(w *world) {
			w.command(up("c", w.signed(func(g *keys.Grant) { g.Operators[0].Ports = []keys.Port{keys.TCP(3389)} })))
		}},
		{"wrong kind", "wrong_kind", false, func(w *world) { w.command(up("c", down(w.signer(), victim, "s-1"))) }},
		{"a grant as a down", "wrong_kind", true, func(w *world) {
			w.command(command(signaling.Command{ID: "c", Action: signaling.Down, Token: w.signed(nil)}))
		}},
		{"insists on something unknown", "unknown_crit", false, func(w *world) {
			w.command(up("c", w.signed(func(g *keys.Grant) { g.Crit = []string{"teleport"} })))
		}},
		{"replayed: a rev that is over", "replayed", true, func(w *world) {
			v := w.control(victim)
			w.command(up("c", w.signed(func(g *keys.Grant) { g.Session, g.Rev = v.ID, 1 })))
		}},
		{"another session", "busy", true, func(w *world) { w.command(up("c", w.signed(nil))) }},
		{"prekey used twice", "used_prekey", false, func(w *world) {
			// Of the session before, which it belongs to for ever.
			old := w.spent
			w.command(up("c", w.signed(func(g *keys.Grant) { g.Prekey = old })))
		}},
		{"prekey of nobody", "unknown_prekey", false, func(w *world) {
			w.command(up("c", w.signed(func(g *keys.Grant) { g.Prekey = keys.NewPrivateKey().Public() })))
		}},
		{"prekey of another boot", "wrong_boot", false, func(w *world) {
			before := must(keys.OpenDevice(victim, w.kiosks[victim].store, keys.Trust{Roots: w.ctl.Roots()}))
			batch := must(keys.VerifyPrekeys(before.Prekeys(), "", victim, before.Key()))
			w.command(up("c", w.signed(func(g *keys.Grant) { g.Boot, g.Prekey = batch.Boot, batch.Keys[0] })))
		}},
		{"truncated", "truncated", false, func(w *world) { b := up("c", w.signed(nil)); w.command(b[:len(b)/2]) }},
		{"truncated token", "malformed", false, func(w *world) { b := w.signed(nil); w.command(up("c", b[:len(b)/2])) }},
		{"oversized", "oversized", false, func(w *world) { w.command(bytes.Repeat([]byte{'{'}, 1<<20)) }},
		{"not JSON", "malformed", false, func(w *world) { w.command([]byte("hello")) }},
		{"deep JSON", "too_deep", false, func(w *world) {
			w.command([]byte(strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)))
		}},
		{"duplicate keys", "duplicate_key", false, func(w *world) {
			w.command([]byte(`{"action":"vpn_down","action":"vpn_up","server":"wg-1"}`))
		}},
		{"unknown action", "unsupported", false, func(w *world) { w.command([]byte(`{"action":"format_disk"}`)) }},
		{"up after its down", "closed", false, func(w *world) {
			w.command(command(signaling.Command{ID: "d", Action: signaling.Down, Token: down(w.signer(), victim, "s-1")}))
			w.command(up("c", w.signed(nil)))
		}},
		{"up of a session that is over", "closed", false, func(w *world) {
			w.command(up("c", w.signed(func(g *keys.Grant) { g.Session = w.over })))
		}},
		{"retained", "retained", false, func(w *world) {
			w.medium.inject(signalingtest.Packet{Topic: "iot/" + victim + "/cmd", Payload: up("c", w.signed(nil)), Retained: true})
		}},
		{"retained down", "retained", true, func(w *world) {
			id := w.kiosks[victim].agent.Status().Session.ID
			b := command(signaling.Command{ID: "c", Action: signaling.Down, Token: down(w.signer(), victim, id)})
			w.medium.inject(signalingtest.Packet{Topic: "iot/" + victim + "/cmd", Payload: b, Retained: true})
		}},
		{"forged ask", "forged", false, func(w *world) {
			ask := must(w.signer().Sign(keys.TypeAsk, raw(map[string]any{"session": "s-1", "device": victim, "nonce": "n-1"})))
			w.command(command(signaling.Command{ID: "c", Action: signaling.Ask, Token: spoil(ask)}))
		}},
		{"a stranger's roots", "out_of_order", false, func(w *world) {
			mine := must(keys.OpenIdentity(keys.NewMemory(), "root"))
			list := must(keys.SignRoots(keys.RootList{Issuer: "boothwire", N: 3, Roots: []keys.IdentityKey{mine.Key()}}, mine, mine))
			w.command(command(signaling.Command{ID: "c", Action: signaling.Roots, Token: list}))
		}},
	}) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, config{trust: keys.Trust{Nodes: []string{nodeName}, Ports: []keys.Port{keys.TCP(22)}}})
			k := w.kiosks[victim]
			w.yesterday()
			var c *wire
			if group[0].open {
				c = w.extended()
			}
			for n, tc := range group {
				if t.Failed() {
					return
				}
				t.Run(tc.name, func(t *testing.T) {
					w.t = t
					before := settle(w)
					tc.send(w)
					w.eventually("an audit row", func() bool { return len(w.refusals()) > n })
					unchanged(t, before, settle(w))
					tc.told(t, w)
				})
				w.t = t
			}
			if c != nil {
				if err := c.echo(); err != nil {
					t.Errorf("the open session: %v", err)
				}
				c.close()
				w.idle(victim)
			}
			w.works(victim)
			for s := range w.admin.Sessions(t.Context(), client.Filter{}) {
				for _, p := range s.Ladder {
					if p.Stage == "asked" {
						t.Errorf("a prekey was lost, control had to ask for another: %v", s.Ladder)
					}
				}
			}
			k.stop() // what of a minute is not told yet is told now
			if rows := w.refusals(); len(rows) != len(group) {
				t.Errorf("%d audit rows for %d refusals: %+v", len(rows), len(group), rows)
			}
			if _, all := lines(k.logs, "command refused", ""); all != len(group) {
				t.Errorf("%d log lines for %d refusals", all, len(group))
			}
			for _, tc := range group {
				tc.told(t, w)
			}
			if w.kiosks[other].logs.FilterMessage("command refused").Len() != 0 {
				t.Error("the other kiosk refused something")
			}
		})
	}
}

// refusal is a command that is to be refused.
type refusal struct {
	name, code string
	open       bool // a session is, when it comes
	send       func(w *world)
}

// told checks that the refusal has its row and its line.
func (r *refusal) told(t *testing.T, w *world) {
	t.Helper()
	found := 0
	for _, row := range w.refusals() {
		if row.Code != r.code {
			continue
		}
		found++
		if row.What != "command_refused" || row.Who != victim || row.Device != victim || row.Count != 1 {
			t.Errorf("%s: audited as %+v", r.name, row)
		}
	}
	if found != 1 {
		t.Errorf("%s: %d audit rows with %s: %+v", r.name, found, r.code, w.refusals())
	}
	if n, _ := lines(w.kiosks[victim].logs, "command refused", r.code); n != 1 {
		t.Errorf("%s: %d log lines with %s", r.name, n, r.code)
	}
}

// grouped puts together what can be told apart in one world and one minute.
func grouped(all []refusal) (groups [][]refusal) {
next:
	for _, r := range all {
		for i, g := range groups {
			if g[0].open == r.open && !slices.ContainsFunc(g, func(o refusal) bool { return o.code == r.code }) {
				groups[i] = append(g, r)
				continue next
			}
		}
		groups = append(groups, []refusal{r})
	}
	return groups
}

// extended is a session in its second revision.
func (w *world) extended() *wire {
	w.t.Helper()
	c, err := w.connect(victim, patience)
	if err != nil {
		w.t.Fatal(err)
	}
	must(w.admin.ExtendSession(w.t.Context(), c.s.ID(), 2*time.Hour))
	w.eventually("the second revision", func() bool {
		return w.sessionsOf(victim)[0].Rev == 2 && w.kiosks[victim].logs.FilterMessage("grant updated").Len() == 1
	})
	return c
}

// yesterday has one session of the victim, so that there is one that is over.
func (w *world) yesterday() {
	w.t.Helper()
	c, err := w.connect(victim, patience)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, w.describe())
	}
	w.over, w.spent = c.s.ID(), c.s.Grant().Prekey
	c.close()
	w.idle(victim)
}

// control is the device's open session as control has it.
func (w *world) control(id string) client.Session {
	d := must(w.admin.Device(w.t.Context(), id))
	return must(w.admin.Session(w.t.Context(), d.Session))
}

// TestThousandCommandsASecond: they cost one row a code, and the device goes on.
func TestThousandCommandsASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config{})
	k := w.kiosks[victim]
	c, err := w.connect(victim, patience)
	if err != nil {
		t.Fatal(err)
	}
	before := settle(w)
	for i := range 1000 {
		w.command(fmt.Appendf(nil, `{"id":"c%d","action":"vpn_down"}`, i))
	}
	w.eventually("audit rows", func() bool { return len(w.refusals()) == 2 })
	unchanged(t, before, settle(w))
	if err := c.echo(); err != nil {
		t.Errorf("the open session: %v", err)
	}
	c.close()
	w.idle(victim)
	w.works(victim)
	k.stop()
	var rows []client.Audit
	w.eventually("a thousand counted", func() bool {
		total := 0
		rows = w.refusals()
		for _, r := range rows {
			total += r.Count
		}
		return total >= 1000
	})
	total := 0
	for _, r := range rows {
		total += r.Count
		if r.Device != victim || r.What != "command_refused" || r.Code != "unsigned" && r.Code != "flood" {
			t.Errorf("audited %+v", r)
		}
	}
	if len(rows) != 2 || total != 1000 {
		b, _ := json.Marshal(rows)
		t.Errorf("%d in %d rows: %s", total, len(rows), b)
	}
	// The first of each is logged at once, the rest in one line at the minute's end.
	for _, code := range []string{"unsigned", "flood"} {
		if n, _ := lines(k.logs, "command refused", code); n < 1 || n > 2 {
			t.Errorf("%d log lines with %s", n, code)
		}
	}
}
