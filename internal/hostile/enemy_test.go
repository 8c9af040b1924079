package hostile

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/signalingtest"
)

type packet = signalingtest.Packet

// enemy is whoever holds the broker. It knows all that was ever sent, has keys of
// its own and none of ours.
type enemy struct {
	w      *world
	signer *keys.Signer            // for whom a root of its own vouches
	poser  map[string]*keys.Device // devices of the same names with keys of its own
	far    netip.AddrPort          // where it would like tunnels to end
	key    keys.PrivateKey         // and the key it has there
	late   sync.WaitGroup          // deliveries under way

	mu     sync.Mutex
	rand   *rand.Rand
	tape   []packet // all that passed
	turns  int      // of forge
	held   []packet
	tamper func(e *enemy, p packet) []packet
}

func (w *world) enemy(seed uint64) *enemy {
	e := &enemy{
		w: w, signer: stranger("boothwire"), far: w.trap.addr, key: keys.NewPrivateKey(),
		rand: rand.New(rand.NewPCG(seed, 1)), poser: make(map[string]*keys.Device),
	}
	for id := range w.kiosks {
		e.poser[id] = must(keys.OpenDevice(id, keys.NewMemory(), keys.Trust{Roots: w.ctl.Roots()}))
	}
	w.medium.intercept(func(_ string, p packet) []packet {
		e.mu.Lock()
		defer e.mu.Unlock()
		p.Payload = slices.Clone(p.Payload)
		if len(e.tape) < 2000 {
			e.tape = append(e.tape, p)
		}
		if e.tamper == nil {
			return []packet{p}
		}
		return e.tamper(e, p)
	})
	w.t.Cleanup(e.honest)
	return e
}

// turn makes the broker hostile, or with nil honest for now; mu guards what tamper
// does.
func (e *enemy) turn(tamper func(e *enemy, p packet) []packet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tamper = tamper
}

// honest makes the broker deliver what it still holds, and be one from then on.
func (e *enemy) honest() {
	e.mu.Lock()
	e.tamper = nil
	held := e.held
	e.held = nil
	e.mu.Unlock()
	e.late.Wait()
	for _, p := range held {
		e.w.medium.inject(p)
	}
}

// later delivers p after d, or at the end; mu is held.
func (e *enemy) later(p packet, d time.Duration) {
	e.late.Add(1)
	time.AfterFunc(d, func() {
		defer e.late.Done()
		e.w.medium.inject(p)
	})
}

// choose is one of those that passed, by the kind of topic; mu is held.
func (e *enemy) choose(kind string) (p packet, ok bool) {
	for range 20 {
		if len(e.tape) == 0 {
			return p, false
		}
		p = e.tape[e.rand.IntN(len(e.tape))]
		if kind == "" || strings.HasSuffix(p.Topic, kind) {
			return p, true
		}
	}
	return p, false
}

func isCommand(p packet) bool { return strings.HasSuffix(p.Topic, "/cmd") }

// kindOf is cmd or status.
func kindOf(p packet) string { return strings.Split(p.Topic, "/")[2] }

// release delivers what is held, in the order that f makes; mu is held.
func (e *enemy) release(f func([]packet)) {
	list := e.held
	e.held = nil
	f(list)
	e.late.Go(func() {
		for _, p := range list {
			e.w.medium.inject(p)
		}
	})
}

func deviceOf(p packet) string { return strings.Split(p.Topic, "/")[1] }

// forgeries are what the enemy makes of a message.
func (e *enemy) forgeries(p packet) (list []packet) {
	add := func(payload []byte) { list = append(list, packet{Topic: p.Topic, Payload: payload}) }
	if isCommand(p) {
		add([]byte(`{"action":"vpn_down"}`))
		add([]byte(`{"action":"vpn_up","server":"wg-1"}`))
		c, err := signaling.ParseCommand(p.Payload)
		if err != nil || len(c.Token) == 0 {
			return list
		}
		for _, token := range e.tokens(c.Token) {
			forged := *c
			forged.ID, forged.Token = c.ID+"x", token
			add(command(forged))
		}
		// A down of the session, of the enemy's own making.
		add(command(signaling.Command{ID: "d", Action: signaling.Down, Token: down(e.signer, deviceOf(p), c.Session)}))
		return list
	}
	add([]byte(`{"vpn":"failed","code":"lifetime"}`))
	add([]byte(`{"vpn":"connected","ip":"10.166.9.9"}`))
	st, err := signaling.ParseStatus(p.Payload)
	if err != nil {
		return list
	}
	evil := func(_, m map[string]any) { m["vpn"], m["version"], m["ip"] = "failed", "evil", "10.166.9.9" }
	if len(st.Token) > 0 {
		for _, token := range [][]byte{rewrite(st.Token, evil), spoil(st.Token)} {
			forged := *st
			forged.Token = token
			add(must(forged.MarshalJSON()))
		}
		// Signed in earnest, with another key.
		poser := e.poser[deviceOf(p)]
		for _, typ := range []string{keys.TypeStatus, keys.TypeReply} {
			token := must(poser.Sign(typ, payloadOf(rewrite(st.Token, evil))))
			add(must(signaling.Status{VPN: signaling.Failed, Session: st.Session, Token: token, Prekeys: poser.Prekeys()}.MarshalJSON()))
		}
	}
	if len(st.Prekeys) > 0 {
		forged := *st
		forged.Prekeys = rewrite(st.Prekeys, func(_, m map[string]any) { m["keys"] = []string{e.key.Public().String()} })
		add(must(forged.MarshalJSON()))
	}
	return list
}

// forge makes one thing after the other of the latest wake, and any of a status: no
// more than the device looks at; mu is held.
func (e *enemy) forge() (list []packet) {
	for _, p := range slices.Backward(e.tape) {
		if c, err := signaling.ParseCommand(p.Payload); isCommand(p) && deviceOf(p) == victim && err == nil && c.Action == signaling.Up {
			all := e.forgeries(p)
			list = append(list, all[e.turns%len(all)])
			e.turns++
			break
		}
	}
	if p, ok := e.choose("status"); ok {
		all := e.forgeries(p)
		list = append(list, all[e.rand.IntN(len(all))])
	}
	return list
}

// fresh puts the latest one-time key of the grant's device into it; mu is held.
func (e *enemy) fresh(_, p map[string]any) {
	for _, q := range slices.Backward(e.tape) {
		st, err := signaling.ParseStatus(q.Payload)
		if isCommand(q) || err != nil || len(st.Prekeys) == 0 || deviceOf(q) != p["device"] {
			continue
		}
		var batch struct {
			Boot string   `json:"boot"`
			Keys []string `json:"keys"`
		}
		if json.Unmarshal(payloadOf(st.Prekeys), &batch) == nil && len(batch.Keys) > 0 {
			p["boot"], p["prekey"], p["session"] = batch.Boot, batch.Keys[len(batch.Keys)-1], keys.NewID()
		}
		return
	}
}

// tokens are what the enemy makes of one of control's.
func (e *enemy) tokens(token []byte) [][]byte {
	redirect := func(_, p map[string]any) {
		if far, ok := p["far"].(map[string]any); ok {
			far["endpoints"], far["key"] = []string{e.far.String()}, e.key.Public().String()
		}
		if list, ok := p["operators"].([]any); ok && len(list) > 0 {
			list[0].(map[string]any)["key"] = e.key.Public().String()
		}
		p["session"] = "s-evil"
	}
	typ, _ := headerOf(token)["typ"].(string)
	moved := rewrite(token, redirect)
	list := [][]byte{
		spoil(token), moved,
		rewrite(moved, func(h, _ map[string]any) { h["alg"] = "none" }),
		rewrite(moved, func(h, _ map[string]any) { h["typ"] = keys.TypeGrant }),
	}
	// Signed in earnest by a signer of its own: the session as it is, the session moved
	// by a higher revision, another one with a key that the device offers and nobody
	// has used, and with our signer's record.
	higher := rewrite(moved, func(_, p map[string]any) {
		var was map[string]any
		_ = json.Unmarshal(payloadOf(token), &was)
		p["session"], p["rev"] = was["session"], 7
	})
	for _, payload := range [][]byte{payloadOf(token), payloadOf(higher), payloadOf(rewrite(moved, e.fresh))} {
		if mine, err := e.signer.Sign(typ, payload); err == nil {
			list = append(list, mine)
		}
	}
	if mine, err := e.signer.Sign(typ, payloadOf(moved)); err == nil {
		list = append(list, mine, rewrite(mine, func(h, _ map[string]any) { h["rec"], h["kid"] = headerOf(token)["rec"], headerOf(token)["kid"] }))
	}
	return list
}
