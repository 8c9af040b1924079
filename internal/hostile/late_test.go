package hostile

import (
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/signaling"
)

// TestLateGrant: a grant that the broker keeps until its session is over, whose
// down it withholds, makes the device knock at the grant's own node for as long as
// an acceptance counts, and nothing else.
func TestLateGrant(t *testing.T) {
	t.Parallel()
	const prove = 5 * time.Second
	w := newWorld(t, config{prove: prove})
	k := w.kiosks[victim]
	e := w.enemy(1)
	var grant packet
	e.turn(func(_ *enemy, p packet) []packet {
		if !isCommand(p) || deviceOf(p) != victim {
			return []packet{p}
		}
		if c, err := signaling.ParseCommand(p.Payload); err == nil && c.Action == signaling.Up {
			grant = p
		}
		return nil
	})
	s, err := w.open(victim)
	if err != nil {
		t.Fatal(err)
	}
	e.await(t, func() bool { return grant.Payload != nil })
	if st := k.agent.Status(); st.State != signaling.Disconnected {
		t.Fatalf("woken by nothing: %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is over at the node", func() bool { return len(w.node.Sessions()) == 0 })

	began := time.Now()
	w.medium.inject(grant)
	w.eventually("the device knocks", func() bool { return k.agent.Status().Tunnel.Remote != "" })
	if got, want := k.agent.Status().Tunnel.Remote, w.node.FarEnd().Endpoints[0].String(); got != want {
		t.Errorf("it knocks at %s, not at %s", got, want)
	}
	w.sane(false)
	w.eventually("the device gives up", func() bool { return k.agent.Status().Session.ID == "" })
	if d := time.Since(began); d < prove {
		t.Errorf("given up after %v", d)
	}
	if st := k.agent.Status(); st.State != signaling.Failed || st.Ladder[len(st.Ladder)-1].Code != "no_proof" {
		t.Errorf("the agent is %+v", st)
	}
	if n := k.agent.Stats(); n.Sessions != 0 || k.accepted.Load() != 0 {
		t.Errorf("something opened: %+v", n)
	}
	if len(w.node.Sessions()) != 0 {
		t.Error("the node has it again")
	}
	if v := must(w.admin.Session(t.Context(), s.ID())); v.State != client.Closed && v.State != client.Closing {
		t.Errorf("control has it as %s %s", v.State, v.Code)
	}
	// Once more, and it is nothing new.
	w.medium.inject(grant)
	w.eventually("it is answered as over", func() bool { return k.tap.last() == signaling.Failed })
	if st := k.agent.Status(); st.Session.ID != "" {
		t.Errorf("it opened again: %+v", st)
	}
	e.honest()
	w.works(victim)
	w.sane(false)
}

// await waits for what tamper sees.
func (e *enemy) await(t *testing.T, ok func() bool) {
	t.Helper()
	e.w.eventually("the enemy sees it", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return ok()
	})
}
