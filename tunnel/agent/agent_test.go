package agent_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel/agent"
)

// leaks fails the test when a goroutine outlives what the test made.
func leaks(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.None(t, ignore) })
}

func TestSessionFromWakeToSilence(t *testing.T) {
	leaks(t)
	var mu sync.Mutex
	var told []string
	note := func(s string) { mu.Lock(); told = append(told, s); mu.Unlock() }
	r := newRig(t, &agent.Config{
		MayOpen: func(_ context.Context, s agent.Session) error {
			note("may " + s.ID)
			if !slices.Equal(s.Operators, []string{"op-1"}) || !slices.Equal(s.Ports, []keys.Port{keys.TCP(22)}) {
				note("wrong session")
			}
			return nil
		},
		Opened: func(s agent.Session) { note("opened " + s.ID) },
		Closed: func(s agent.Session, why error) { note("closed " + s.ID) },
	})
	key := keys.NewPrivateKey()
	g := r.grant("s1", 1, key.Public())
	r.send(g)
	_, conn, err := r.dial(g, key, 22)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Fatalf("echoed %q, %v", got, err)
	}
	conn.Close()
	r.waitState(signaling.Connected)
	var stages []signaling.Stage
	for _, s := range r.agent.Status().Ladder {
		stages = append(stages, s.Stage)
	}
	if want := []signaling.Stage{signaling.Received, signaling.Keyed, signaling.Socket, signaling.Handshake, signaling.Proved, signaling.Ready}; !slices.Equal(stages, want) {
		t.Errorf("the host saw the stages %v, want %v", stages, want)
	}
	r.wait("control hears ready", func() bool {
		return r.statuses.find(func(s *signaling.Status) bool {
			return s.VPN == signaling.Connected && s.IP == deviceAddr && slices.ContainsFunc(s.Ladder, func(st signaling.Step) bool { return st.Stage == signaling.Ready })
		}) != nil
	})
	r.down("s1")
	r.waitState(signaling.Disconnected)
	r.wait("control hears closed, and what was carried", func() bool {
		return r.statuses.find(func(s *signaling.Status) bool {
			return s.VPN == signaling.Disconnected && s.Session == "s1" && s.Rx > 0 && s.Tx > 0
		}) != nil
	})
	mu.Lock()
	if want := []string{"may s1", "opened s1", "closed s1"}; !slices.Equal(told, want) {
		t.Errorf("the host was told %q, want %q", told, want)
	}
	mu.Unlock()
	if s := r.agent.Stats(); s.Sessions != 1 || s.Failed != 0 || s.Rx == 0 || s.Tx == 0 || s.Spent.Direct == 0 {
		t.Errorf("stats %+v", s)
	}
	if err := r.end(); err != nil {
		t.Errorf("Run returned %v", err)
	}
}

func TestHostSaysNo(t *testing.T) {
	leaks(t)
	r := newRig(t, &agent.Config{MayOpen: func(context.Context, agent.Session) error { return errors.New("a customer pays") }})
	key := keys.NewPrivateKey()
	r.send(r.grant("s1", 1, key.Public()))
	r.wait("control hears the host's no", func() bool {
		return r.statuses.find(func(s *signaling.Status) bool {
			return s.VPN == signaling.Failed && s.Code == "refused_by_host"
		}) != nil
	})
}

func TestLifetimeEndsASession(t *testing.T) {
	leaks(t)
	r := newRig(t, nil)
	key := keys.NewPrivateKey()
	g := r.grant("s1", 1, key.Public())
	g.Lifetime = time.Second
	r.send(g)
	r.wait("control hears that its lifetime is over", func() bool {
		return r.statuses.find(func(s *signaling.Status) bool {
			return s.VPN == signaling.Disconnected && s.Code == "lifetime"
		}) != nil
	})
}

// A grant that comes late, when its node knows nothing of it any more, costs no
// more than knocking there for a while.
func TestNoProofEndsASession(t *testing.T) {
	leaks(t)
	r := newRig(t, &agent.Config{Prove: time.Second})
	key := keys.NewPrivateKey()
	g := r.grant("s1", 1, key.Public())
	r.command(signaling.Command{ID: "late", Action: signaling.Up, Token: must(g.Sign(r.signer))})
	r.wait("control hears that nothing was proved", func() bool {
		return r.statuses.find(func(s *signaling.Status) bool {
			return s.VPN == signaling.Failed && s.Code == "no_proof" && s.Session == "s1"
		}) != nil
	})
	r.waitState(signaling.Failed)
	if s := r.agent.Stats(); s.Sessions != 0 || s.Failed != 1 {
		t.Errorf("stats %+v", s)
	}
	// Its prekey is spent, also for a session that follows.
	again := *g
	again.Session = "s2"
	r.command(signaling.Command{ID: "spent", Action: signaling.Up, Token: must(again.Sign(r.signer))})
	r.wait("control hears that its key was used", func() bool {
		return r.statuses.find(func(s *signaling.Status) bool { return s.Code == keys.ReasonUsedPrekey && s.Count == 1 }) != nil
	})
	if s := r.agent.Status(); s.State != signaling.Failed || s.Session.ID != "" || len(s.Ladder) < 3 || r.agent.Stats().Failed != 1 {
		t.Errorf("a refused grant changed the agent: %+v", s)
	}
}

func TestProvedStays(t *testing.T) {
	leaks(t)
	const prove = 3 * time.Second
	r := newRig(t, &agent.Config{Prove: prove})
	r.send(r.grant("s1", 1, keys.NewPrivateKey().Public()))
	r.waitState(signaling.Connected)
	time.Sleep(prove)
	if s := r.agent.Status(); s.State != signaling.Connected || s.Session.ID != "s1" {
		t.Errorf("later: %+v", s)
	}
}

// The time for a proof counts from acceptance, whatever the host is waiting for.
func TestNoProofWhileTheHostThinks(t *testing.T) {
	leaks(t)
	r := newRig(t, &agent.Config{Prove: time.Second, MayOpen: func(ctx context.Context, _ agent.Session) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}})
	key := keys.NewPrivateKey()
	r.send(r.grant("s1", 1, key.Public()))
	r.wait("control hears that nothing was proved", func() bool {
		return r.statuses.find(func(s *signaling.Status) bool { return s.VPN == signaling.Failed && s.Code == "no_proof" }) != nil
	})
}

func TestLaterGrantNarrowsAndAdds(t *testing.T) {
	leaks(t)
	r := newRig(t, nil)
	first, second := keys.NewPrivateKey(), keys.NewPrivateKey()
	g := r.grant("s1", 1, first.Public())
	r.send(g)
	if _, conn, err := r.dial(g, first, 22); err != nil {
		t.Fatal(err)
	} else {
		conn.Close()
	}
	g2 := *g
	g2.Rev = 2
	g2.Operators = append(slices.Clone(g.Operators), keys.Operator{ID: "op-2", Key: second.Public(), Address: operatorAddr.Next(), Ports: []keys.Port{keys.TCP(22)}})
	r.send(&g2)
	if _, conn, err := r.dial(&g2, second, 22); err != nil {
		t.Fatalf("the second operator: %v", err)
	} else {
		conn.Close()
	}
	r.wait("the host sees both", func() bool { return len(r.agent.Status().Session.Operators) == 2 })
}

func TestHangup(t *testing.T) {
	leaks(t)
	r := newRig(t, nil)
	if err := r.agent.Hangup(t.Context()); err != nil {
		t.Errorf("with no session: %v", err)
	}
	key := keys.NewPrivateKey()
	r.send(r.grant("s1", 1, key.Public()))
	r.waitState(signaling.Connected)
	if err := r.agent.Hangup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.agent.Status(); s.State != signaling.Disconnected || s.Session.ID != "" {
		t.Errorf("after Hangup: %+v", s)
	}
	r.wait("control hears the code", func() bool {
		return r.statuses.find(func(s *signaling.Status) bool { return s.Code == "hangup" }) != nil
	})
}

func TestEventsBeginWithThePresent(t *testing.T) {
	leaks(t)
	r := newRig(t, nil)
	for e := range r.agent.Events(t.Context()) {
		if e.State != signaling.Disconnected {
			t.Errorf("the first event is %+v", e)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range r.agent.Events(ctx) {
	}
}

func TestNewWantsItsParts(t *testing.T) {
	if _, err := agent.New(nil, nil, nil); err == nil {
		t.Error("an agent without a device")
	}
}
