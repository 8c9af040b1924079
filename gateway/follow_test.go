package gateway

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// following enrols a node with c, opens it and follows; stop ends the follow.
func following(t testing.TB, c *fakeControl, store keys.Store, silence time.Duration) (n *Node, r *recorder, stop func()) {
	t.Helper()
	return followingWith(t, c, &Config{Store: store}, nil, silence)
}

func followingWith(t testing.TB, c *fakeControl, cfg *Config, follow *FollowConfig, silence time.Duration) (n *Node, r *recorder, stop func()) {
	t.Helper()
	store := cfg.Store
	e, err := Enroll(t.Context(), c.server.URL, store, &EnrollConfig{Claim: c.claim(1), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	roots := must(e.OpenRoots(store))
	r = &recorder{}
	cfg.Observe, cfg.Endpoints = r.observe, []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	n, err = Open(t.Context(), e.Name, roots, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.follow(ctx, c.server.URL, follow, silence) }()
	stop = func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
			t.Errorf("follow ended with %v", err)
		}
		done <- context.Canceled
	}
	t.Cleanup(func() {
		stop()
		n.Close()
	})
	return n, r, stop
}

// A relay in the node's process hears of sessions that the node never had.
func TestFollowOver(t *testing.T) {
	c := newFakeControl(t, newAuthority(t, "test"))
	over := make(chan string, 8)
	_, r, stop := followingWith(t, c, &Config{Store: keys.NewMemory()}, &FollowConfig{Over: func(s string) { over <- s }}, silence)
	eventually(t, "first report", func() bool { _, list := c.got(); return len(list) > 0 })
	c.set(func(c *fakeControl) { c.live = append(c.live, `{"kind":"over","session":"lately"}`) })
	c.hangUp() // it hears those again when it comes back
	if got := <-over; got != "lately" {
		t.Errorf("heard of %q", got)
	}
	c.say(false, `{"kind":"over","session":"no id"}`)
	c.say(false, `{"kind":"over"}`)
	c.say(false, `{"kind":"over","session":"now"}`)
	if got := <-over; got != "now" {
		t.Errorf("heard of %q", got)
	}
	stop()
	if follows, _ := c.got(); c.relays != follows || follows < 2 {
		t.Errorf("%d of %d follows asked", c.relays, follows)
	}
	if got := r.all(); len(got) != 0 {
		t.Errorf("the node took it for its own: %+v", got)
	}
}

func TestFollow(t *testing.T) {
	a := newAuthority(t, "test")
	c := newFakeControl(t, a)
	n, r, _ := following(t, c, keys.NewMemory(), silence)
	eventually(t, "first report", func() bool { _, list := c.got(); return len(list) > 0 })
	if err := n.Ready(); err != nil {
		t.Errorf("followed, and not ready: %v", err)
	}
	_, list := c.got()
	if first := list[0]; first.Sessions == nil || len(*first.Sessions) != 0 || len(first.Endpoints) != 1 || first.Endpoints[0].Port() == 0 || first.Seq < 1<<32 {
		t.Errorf("first report: %+v", first)
	}

	p := newPair(n, 1, keys.TCP(22))
	token := a.sign(t, &p.grant)
	c.say(true, grantLine(p.grant.Session, token))
	eventually(t, "installed", func() bool { return c.told(KindInstalled, p.grant.Session, "") })
	device := up(t, n.FarEnd(), p.device, p.devAddr())
	if !device.ping(n.FarEnd().Proof, patience) {
		t.Fatal("no proof")
	}
	eventually(t, "handshake", func() bool { return c.told(KindHandshake, p.grant.Session, "") })
	eventually(t, "proved", func() bool { return c.told(KindProved, p.grant.Session, "") })

	// What cannot be believed is refused under the session that control meant.
	forged := []byte(strings.Replace(string(token), ".", ".A", 1))
	c.say(false, grantLine("session-2", forged))
	c.say(false, grantLine("session-3", nil))
	c.say(false, endLine(p.grant.Session, []byte("nonsense")))
	c.say(false, `{"kind":"news","of":"tomorrow"}`)
	eventually(t, "refusals", func() bool { return r.count(KindRefused) == 3 })
	eventually(t, "reported refusals", func() bool {
		_, list := c.got()
		seen := map[string]bool{}
		for _, q := range list {
			for _, e := range q.Events {
				if e.Kind == KindRefused && e.Code != "" {
					seen[e.Session] = true
				}
			}
		}
		return seen["session-2"] && seen["session-3"] && seen[p.grant.Session]
	})
	if len(n.Sessions()) != 1 {
		t.Fatalf("sessions: %+v", n.Sessions())
	}

	// A stream that ends is followed anew; the node holds on and says so.
	c.hangUp()
	eventually(t, "second follow", func() bool { follows, _ := c.got(); return follows == 2 })
	eventually(t, "its first report", func() bool {
		_, list := c.got()
		last := list[len(list)-1]
		for _, q := range list {
			if q.Seq > list[0].Seq && q.Sessions != nil && len(*q.Sessions) == 1 && (*q.Sessions)[0] == (reportSession{Session: p.grant.Session, Rev: 1}) {
				return last.Seq >= q.Seq
			}
		}
		return false
	})
	eventually(t, "installed again", func() bool { return r.count(KindInstalled) == 2 })
	if !device.ping(n.FarEnd().Proof, patience) {
		t.Fatal("the session did not live through the reconnect")
	}

	c.say(false, endLine(p.grant.Session, a.down(t, p.grant.Session)))
	eventually(t, "closed", func() bool { return c.told(KindClosed, p.grant.Session, "") })
	if len(n.Sessions()) != 0 {
		t.Error("an ended session is in force")
	}
	st := n.Stats()
	if st.Shaken != 1 || st.Proved != 1 || st.EndedBy["down"] != 1 || st.Ended != 1 || st.RefusedBy[keys.ReasonMalformed] == 0 || st.Refused != 3 || !st.Reached {
		t.Errorf("figures: %+v", st)
	}
	_, list = c.got()
	for i, q := range list[1:] {
		if q.Seq < list[i].Seq { // one whose answer was lost comes again
			t.Errorf("report %d after %d", q.Seq, list[i].Seq)
		}
	}
}

func TestFollowSilence(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "test")
	c := newFakeControl(t, a)
	c.set(func(c *fakeControl) { c.mute = true })
	const silence = 300 * time.Millisecond
	n, _, _ := following(t, c, keys.NewMemory(), silence)
	eventually(t, "third follow", func() bool { follows, _ := c.got(); return follows >= 3 })
	eventually(t, "not ready without control", func() bool { return errors.Is(n.Ready(), ErrUnreached) })
	c.set(func(c *fakeControl) { c.mute = false })
	c.hangUp()
	eventually(t, "a follow that pings keep", func() bool { return c.lasts(10 * silence) })
}

func TestFollowReportsGetThrough(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "test")
	c := newFakeControl(t, a)
	c.set(func(c *fakeControl) { c.fail = 2 })
	n, _, _ := following(t, c, keys.NewMemory(), silence)
	p := newPair(n, 1)
	c.say(true, grantLine(p.grant.Session, a.sign(t, &p.grant)))
	eventually(t, "installed", func() bool { return c.told(KindInstalled, p.grant.Session, "") })
	_, list := c.got()
	if list[0].Sessions == nil {
		t.Error("the first report that got through does not say what is held")
	}
}

// A node that was killed comes back with its keys, port and enrolment, without
// its claim, and control's grants make it whole.
func TestRestart(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "test")
	c := newFakeControl(t, a)
	store := keys.NewMemory()
	n, _, stop := following(t, c, store, silence)
	p := newPair(n, 1, keys.TCP(22))
	c.say(true, grantLine(p.grant.Session, a.sign(t, &p.grant)))
	eventually(t, "the grant", func() bool { return len(n.Sessions()) == 1 })
	device := up(t, n.FarEnd(), p.device, p.devAddr())
	if !device.ping(n.FarEnd().Proof, patience) {
		t.Fatal("no proof")
	}
	eventually(t, "what it held at first", func() bool { _, list := c.got(); return len(list) > 0 })
	far := n.FarEnd()
	stop()
	n.Close()

	e, err := Enroll(t.Context(), "https://127.0.0.1:1", store, nil)
	if err != nil {
		t.Fatalf("enrolled before, and asked again: %v", err)
	}
	again, err := Open(t.Context(), e.Name, must(e.OpenRoots(store)), &Config{Store: store, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := again.FarEnd(); got.Key != far.Key || got.Endpoints[0] != far.Endpoints[0] || got.Proof != far.Proof {
		t.Errorf("came back as %+v, was %+v", got, far)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- again.Follow(ctx, c.server.URL, nil) }()
	eventually(t, "the grant again", func() bool { return len(again.Sessions()) == 1 })
	// What it says that it holds is what it held before control's grants came.
	eventually(t, "its first report", func() bool {
		_, reports := c.got()
		firsts := 0
		for _, r := range reports {
			if r.Sessions == nil {
				continue
			}
			if firsts++; len(*r.Sessions) != 0 {
				t.Fatalf("report %d of what it holds: %+v", firsts, *r.Sessions)
			}
		}
		return firsts == 2
	})
	// The device's watchdog would add the node anew; WireGuard alone waits 15 s.
	device.down()
	device = up(t, again.FarEnd(), p.device, p.devAddr())
	if !device.ping(far.Proof, patience) {
		t.Error("no proof after the restart")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestEnrollRefused(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "test")
	c := newFakeControl(t, a)
	claim := c.claim(1)
	first := keys.NewMemory()
	if _, err := Enroll(t.Context(), c.server.URL, first, &EnrollConfig{Claim: claim}); err != nil {
		t.Fatal(err)
	}
	var refused *ControlError
	stranger := keys.NewMemory()
	if _, err := Enroll(t.Context(), c.server.URL, stranger, &EnrollConfig{Claim: claim}); !errors.As(err, &refused) || refused.Code() != "claim_used" || refused.Detail != "because" {
		t.Errorf("a used claim: %v", err)
	}
	if _, err := stranger.Load(nameEnrolment); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a refusal left an enrolment")
	}
	// The claim names control's key: another's certificate is refused at once.
	wrong := claim[:len(claim)-43] + strings.Repeat("A", 43)
	if _, err := Enroll(t.Context(), c.server.URL, stranger, &EnrollConfig{Claim: wrong}); !errors.Is(err, errPin) {
		t.Errorf("a wrong server key: %v", err)
	}
	for _, text := range []string{"", "bwn1", "bwn1.", "bwn1.AAAA.", "bwn2." + claim[5:], claim + ".", claim + "A", claim[:len(claim)-1], strings.Replace(claim, ".", "..", 1)} {
		if _, err := Enroll(t.Context(), c.server.URL, stranger, &EnrollConfig{Claim: text}); !errors.Is(err, errClaim) {
			t.Errorf("claim %q: %v", text, err)
		} else if strings.Contains(err.Error(), claim[5:20]) {
			t.Error("the error holds the secret")
		}
	}
	if _, err := Enroll(t.Context(), strings.Replace(c.server.URL, "https", "http", 1), stranger, &EnrollConfig{Claim: claim}); err == nil || errors.As(err, &refused) {
		t.Errorf("enrolled over plain http: %v", err)
	}
	// While control is away, enrolling waits for it.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := Enroll(ctx, "https://127.0.0.1:1", stranger, &EnrollConfig{Claim: claim}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no control: %v", err)
	}
}

func TestFollowOnce(t *testing.T) {
	a := newAuthority(t, "test")
	c := newFakeControl(t, a)
	n, _, _ := following(t, c, keys.NewMemory(), silence)
	eventually(t, "a follow", func() bool { follows, _ := c.got(); return follows == 1 })
	if err := n.Follow(t.Context(), c.server.URL, nil); err == nil {
		t.Error("followed twice")
	}
	n.Close()
	if err := n.Follow(t.Context(), c.server.URL, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed node: %v", err)
	}
}

// newReporter is the follower of a quiet node that has enrolled at c, which does not
// follow and reports when it is told to.
func newReporter(t *testing.T, a *authority, c *fakeControl) *follower {
	t.Helper()
	store := keys.NewMemory()
	e, err := Enroll(t.Context(), c.server.URL, store, &EnrollConfig{Claim: c.claim(1)})
	if err != nil {
		t.Fatal(err)
	}
	n, _, _ := newQuietNode(t, a, nil)
	ready, _ := n.out.open()
	t.Cleanup(n.out.close)
	link := must(newControl(c.server.URL, nil, must(keys.OpenIdentity(store, nameIdentity)), "wg-bj-01", e.Pin))
	t.Cleanup(link.close)
	return &follower{node: n, link: link, ready: ready, bytes: make(map[string]uint64)}
}

// Ten thousand sessions' counters go in several reports, and keep no news waiting.
func TestReportsAreBounded(t *testing.T) {
	a := newAuthority(t, "test")
	c := newFakeControl(t, a)
	f := newReporter(t, a, c)
	n := f.node
	const all = 2*maxEvents + 100
	list := make([]Event, all)
	for i := range list {
		list[i] = Event{Kind: KindBytes, Rev: i}
	}
	f.gather(list)
	n.out.add(Event{Kind: KindInstalled, Session: "news"}) // for which somebody waits
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.report(ctx) }()
	eventually(t, "three reports", func() bool { _, list := c.got(); return len(list) == 3 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	next := 0
	_, reports := c.got()
	for i, r := range reports {
		if len(r.Events) > maxEvents {
			t.Errorf("%d events in a report", len(r.Events))
		}
		if i == 0 {
			if r.Events[0].Session != "news" {
				t.Errorf("the news waits for counters: the first is of %+v", r.Events[0])
			}
			r.Events = r.Events[1:]
		}
		for _, e := range r.Events {
			if e.Rev != next {
				t.Fatalf("event %d in place of %d", e.Rev, next)
			}
			next++
		}
	}
	if next != all {
		t.Errorf("%d events of %d", next, all)
	}
}

// Control takes the events of a number once: what happened after a report whose answer
// was lost, and which said nothing of it, comes under another.
func TestReportAnswerLost(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "test")
	c := newFakeControl(t, a)
	f := newReporter(t, a, c)
	n := f.node
	reported := func(until func() bool) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.report(ctx) }()
		eventually(t, "a report", until)
		cancel()
		<-done
	}
	c.set(func(c *fakeControl) { c.lose = true })
	reported(func() bool { _, list := c.got(); return len(list) > 0 })
	_, before := c.got()
	c.set(func(c *fakeControl) { c.lose = false })
	n.out.add(Event{Kind: KindProved, Session: "session-1"})
	reported(func() bool { return c.told(KindProved, "session-1", "") })
	_, list := c.got()
	if last := list[len(list)-1]; last.Seq == before[0].Seq {
		t.Errorf("what is news has the number %d of a report that control had", last.Seq)
	}
}
