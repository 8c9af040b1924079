package hostile

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel"
)

// TestHostileBroker: whatever it does, it opens, closes and redirects nothing, and
// nobody believes what is not signed.
func TestHostileBroker(t *testing.T) {
	for i, s := range strategies() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			withstand(t, newWorld(t, config{}), s, uint64(i))
		})
	}
}

func withstand(t *testing.T, w *world, s strategy, seed uint64) {
	e := w.enemy(seed)
	for id, k := range w.kiosks {
		for _, b := range k.tap.messages() { // it was there all the time
			e.tape = append(e.tape, packet{Topic: "iot/" + id + "/status", Payload: b})
		}
	}
	w.yesterday() // of which the enemy has everything
	c, err := w.connect(victim, patience)
	if err != nil {
		t.Fatalf("%v\n%s", err, w.describe())
	}
	remote := w.kiosks[victim].agent.Status().Tunnel.Remote
	e.turn(s.tamper)
	w.attack(e, s.attack, time.Second, func() {
		if err := c.echo(); err != nil {
			t.Errorf("the open session: %v", err)
		}
		w.sane(s.posing)
	})
	st := w.kiosks[victim].agent.Status()
	if st.Session.ID != c.s.ID() || st.Tunnel.Remote != remote {
		t.Errorf("the session %s at %s became %s at %s", c.s.ID(), remote, st.Session.ID, st.Tunnel.Remote)
	}
	if v := must(w.admin.Session(t.Context(), c.s.ID())); v.State != client.Connected && v.State != client.Degraded {
		t.Errorf("control has the session as %s %s", v.State, v.Code)
	}
	w.intrude(e)
	c.close()
	w.attack(e, s.attack, time.Second, func() { w.sane(s.posing) }) // on an idle device, if its down got through
	// What is opened under attack works or does not, for nobody else.
	opened := make(chan *wire, 1)
	go func() {
		c, _ := w.connect(victim, 2*time.Second)
		opened <- c
	}()
	w.attack(e, s.attack, time.Second, func() { w.sane(s.posing) })
	if c := <-opened; c != nil {
		if err := c.echo(); err != nil {
			t.Errorf("a session that opened: %v", err)
		}
		c.close()
	}
	w.sane(s.posing)
	e.honest()
	w.idle(victim)
	w.works(victim)
	w.works(other)
	w.sane(s.posing)
}

// attack goes on for d, checking meanwhile.
func (w *world) attack(e *enemy, attack func(e *enemy) []packet, d time.Duration, check func()) {
	for end := time.Now().Add(d); time.Now().Before(end) && !w.t.Failed(); time.Sleep(50 * time.Millisecond) {
		if attack != nil {
			e.mu.Lock()
			list := attack(e)
			e.mu.Unlock()
			for _, p := range list {
				w.medium.inject(p)
			}
		}
		check()
	}
}

// sane checks that there is nothing but what engineers asked for, and that control
// believes nothing but what the devices signed.
func (w *world) sane(posing bool) {
	w.t.Helper()
	for id, k := range w.kiosks {
		// The agent first: what it has, control has had before.
		st := k.agent.Status()
		if s := st.Session; s.ID != "" {
			v, err := w.admin.Session(w.t.Context(), s.ID)
			if err != nil || v.Device != id || v.Bare || len(s.Operators) > 1 || len(s.Ports) > 0 && !slices.Equal(s.Ports, []keys.Port{keys.TCP(22)}) {
				w.t.Errorf("%s has a session that control did not grant: %+v, %v", id, s, err)
			}
		}
		d := must(w.admin.Device(w.t.Context(), id))
		if d.Key != k.device.Key() || d.Boot != k.device.Boot() || d.Version != version || d.Gen != 3 || !k.tap.signed(d.State) {
			w.t.Errorf("control has %s as %+v", id, d)
		}
		if d.Foreign != "" && !posing {
			w.t.Errorf("%s has a foreign key %s", id, d.Foreign)
		}
	}
	for _, s := range w.node.Sessions() {
		v, err := w.admin.Session(w.t.Context(), s.ID)
		if err != nil || v.Device != s.Device || s.Operators != 1 {
			w.t.Errorf("the node has %+v, %v", s, err)
		}
	}
	if n := w.trap.got.Load(); n != 0 {
		w.t.Errorf("%d packets were redirected", n)
	}
}

// intrude tries to reach the victim with what the enemy has read, and its own key.
func (w *world) intrude(e *enemy) {
	w.t.Helper()
	var token []byte
	e.mu.Lock()
	for _, p := range e.tape {
		if c, err := signaling.ParseCommand(p.Payload); isCommand(p) && err == nil && c.Action == signaling.Up && deviceOf(p) == victim {
			token = c.Token
		}
	}
	e.mu.Unlock()
	g, err := must(keys.ParseRoots("", w.ctl.Roots()...)).VerifyGrant(token)
	if err != nil {
		w.t.Fatal(err)
	}
	before := w.kiosks[victim].accepted.Load()
	g.Operators[0].Key = e.key.Public()
	cfg := tunnel.ForOperator(g, e.key)
	cfg.Mode = tunnel.Driverless
	t := must(tunnel.Up(w.t.Context(), cfg))
	defer t.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), 500*time.Millisecond)
	defer cancel()
	conn, err := t.Dial(ctx, "tcp", net.JoinHostPort(g.Addresses[0].String(), "22"))
	if err == nil {
		conn.Close()
		w.t.Error("a stranger reached the device")
	}
	if got := w.kiosks[victim].accepted.Load(); got != before {
		w.t.Errorf("%d connections of strangers", got-before)
	}
}
