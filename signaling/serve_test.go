package signaling_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// connect is a Handler that does what an agent does, without a tunnel.
func (a *authority) connect(ctx context.Context, s *signaling.Session) error {
	if s.Grant == nil {
		var err error
		if s.Grant, err = s.Request(ctx); err != nil {
			return err
		}
	}
	if _, _, err := a.device.Accept(s.Grant); err != nil {
		return err
	}
	for _, st := range []signaling.Stage{signaling.Keyed, signaling.Socket, signaling.Handshake, signaling.Proved, signaling.Ready} {
		s.Reach(st)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestUpAndDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		var cause error
		stop := d.serve(func(ctx context.Context, s *signaling.Session) error {
			if s.ID != "s1" || s.Server != "wg-bj-01" {
				t.Errorf("session %q at %q", s.ID, s.Server)
			}
			err := a.connect(ctx, s)
			cause = context.Cause(ctx)
			return err
		}, nil)
		synctest.Wait()
		doc := kind(keys.TypeStatus, d.take())
		if len(doc) != 1 || doc[0].VPN != signaling.Disconnected || doc[0].Outer.Prekeys == nil || doc[0].Next != 15*time.Minute || doc[0].Roots != 1 {
			t.Fatalf("first documents: %+v", doc)
		}
		up := signaling.Command{ID: "c1", Action: signaling.Up, Server: "hint", Token: a.grant("s1", 1, a.prekey(0))}
		d.send(up)
		synctest.Wait()
		r := kind(keys.TypeReply, d.take())
		if len(r) != 1 || r[0].Re != "c1" || r[0].VPN != signaling.Connected || r[0].Session != "s1" || r[0].Outer.IP.String() != "10.166.0.5" {
			t.Fatalf("replies: %+v", r)
		}
		var got []signaling.Stage
		for _, s := range r[0].Ladder {
			got = append(got, s.Stage)
		}
		want := []signaling.Stage{"received", "authorised", "keyed", "socket", "handshake", "proved", "ready"}
		if !slices.Equal(got, want) {
			t.Errorf("ladder %v, want %v", got, want)
		}
		time.Sleep(time.Second)
		d.take()
		d.send(signaling.Command{ID: "c2", Action: signaling.Down, Token: a.down("s1")})
		time.Sleep(time.Second)
		all := d.take()
		r = kind(keys.TypeReply, all)
		if n := len(r); n == 0 || r[n-1].VPN != signaling.Disconnected || r[n-1].Re != "c2" || r[n-1].Code != "" || r[n-1].IP.IsValid() {
			t.Fatalf("replies to the down: %+v", r)
		}
		var e *signaling.Error
		if !errors.As(cause, &e) || e.Reason != signaling.ReasonDown {
			t.Errorf("cause %v", cause)
		}
		if doc := kind(keys.TypeStatus, all); doc[len(doc)-1].VPN != signaling.Disconnected {
			t.Errorf("document %+v", doc[len(doc)-1])
		}
		// Its up, come again, opens nothing; the prekey is gone as well.
		d.send(up)
		time.Sleep(time.Second)
		r = kind(keys.TypeReply, d.take())
		if len(r) != 1 || r[0].VPN != signaling.Disconnected || r[0].Session != "s1" || r[0].Re != "c1" {
			t.Errorf("reply to the repeated up: %+v", r)
		}
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// TestDuplicates: a broker that repeats everything starts one session.
func TestDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		calls := 0
		stop := d.serve(func(ctx context.Context, s *signaling.Session) error {
			calls++
			return a.connect(ctx, s)
		}, nil)
		d.broker.Repeat(4)
		d.send(signaling.Command{ID: "c1", Action: signaling.Up, Token: a.grant("s1", 1, a.prekey(0))})
		time.Sleep(time.Second)
		d.send(signaling.Command{ID: "c2", Action: signaling.Down, Token: a.down("s1")})
		time.Sleep(time.Second)
		stop()
		if calls != 1 {
			t.Errorf("the handler was called %d times", calls)
		}
	})
}

// TestOffline: what came while the device was away is served when it is back,
// and its document is published anew with fresh prekeys.
func TestOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		stop := d.serve(a.connect, nil)
		synctest.Wait()
		before := a.device.Prekeys()
		d.broker.Online("kiosk-1", false)
		d.send(signaling.Command{ID: "c1", Action: signaling.Up, Token: a.grant("s1", 1, a.prekey(0))})
		time.Sleep(time.Minute)
		d.take()
		d.broker.Online("kiosk-1", true)
		time.Sleep(time.Second)
		all := d.take()
		docs := kind(keys.TypeStatus, all)
		if len(docs) == 0 || string(docs[0].Outer.Prekeys) == string(before) {
			t.Errorf("documents %+v", docs)
		}
		r := kind(keys.TypeReply, all)
		if len(r) != 1 || r[0].VPN != signaling.Connected {
			t.Errorf("replies %+v", r)
		}
		stop()
	})
}

func TestDocumentIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		stop := d.serve(a.connect, nil)
		synctest.Wait()
		last := time.Now()
		d.broker.Forget()
		for range 200 {
			time.Sleep(time.Minute)
			if docs := kind(keys.TypeStatus, d.take()); len(docs) > 0 {
				last = time.Now()
			}
			if time.Since(last) >= 15*time.Minute {
				t.Fatal("a document was due and did not come")
			}
		}
		if d.broker.Retained("iot/kiosk-1/status") == nil {
			t.Error("it is not retained")
		}
		stop()
	})
}

// TestEnd: Serve downs its session, waits for the handler and says goodbye.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		ctx, cancel := context.WithCancelCause(context.Background())
		why := errors.New("the shop closes")
		returned := false
		done := make(chan error, 1)
		line := d.broker.Device("kiosk-1")
		go func() {
			done <- signaling.Serve(ctx, line, a.device, func(ctx context.Context, s *signaling.Session) error {
				a.connect(ctx, s)
				if context.Cause(ctx) != why {
					t.Errorf("cause %v", context.Cause(ctx))
				}
				time.Sleep(5 * time.Second)
				returned = true
				return context.Cause(ctx)
			}, nil)
		}()
		synctest.Wait()
		d.send(signaling.Command{ID: "c1", Action: signaling.Up, Token: a.grant("s1", 1, a.prekey(0))})
		time.Sleep(time.Second)
		cancel(why)
		if err := <-done; err != nil || !returned {
			t.Errorf("Serve returned %v, handler returned: %v", err, returned)
		}
		docs := kind(keys.TypeStatus, d.take())
		if n := len(docs); n == 0 || docs[n-1].VPN != signaling.Disconnected || docs[n-1].Code != "" {
			t.Errorf("documents %+v", docs)
		}
		st := must(signaling.ParseStatus(d.broker.Retained("iot/kiosk-1/status")))
		if st.VPN != signaling.Disconnected {
			t.Errorf("retained %+v", st)
		}
		if _, _, err := a.device.Accept(a.grant("s1", 2, a.prekey(0))); code(err) != "closed" {
			t.Errorf("after its end: %v", err)
		}
	})
}

func TestHandlerThatFails(t *testing.T) {
	for _, c := range []struct {
		name string
		h    signaling.Handler
		code string
		last signaling.Step
	}{
		{"panics", func(context.Context, *signaling.Session) error { panic("boom") }, "internal", signaling.Step{Stage: signaling.Keyed, Code: "internal"}},
		{"ends its goroutine", func(context.Context, *signaling.Session) error { runtime.Goexit(); return nil }, "internal", signaling.Step{Stage: signaling.Keyed, Code: "internal"}},
		{"says the code", func(_ context.Context, s *signaling.Session) error {
			s.Reach(signaling.Keyed)
			s.Reach(signaling.Socket)
			return &signaling.Error{Reason: "no_handshake"}
		}, "no_handshake", signaling.Step{Stage: signaling.Handshake, Code: "no_handshake"}},
		{"says the stage", func(_ context.Context, s *signaling.Session) error {
			return stageError{}
		}, "no_echo", signaling.Step{Stage: signaling.Proved, Code: "no_echo"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAuthority(t)
				d := newDesk(a)
				stop := d.serve(c.h, nil)
				d.send(signaling.Command{ID: "c1", Action: signaling.Up, Token: a.grant("s1", 1, a.prekey(0))})
				time.Sleep(time.Second)
				r := kind(keys.TypeReply, d.take())
				if len(r) == 0 {
					t.Fatal("no reply")
				}
				got := r[len(r)-1]
				if got.VPN != signaling.Failed || got.Code != c.code || got.Why == "" || len(got.Ladder) == 0 || got.Ladder[len(got.Ladder)-1] != c.last {
					t.Errorf("reply %+v", got.Status)
				}
				stop()
			})
		})
	}
}

type stageError struct{}

func (stageError) Error() string          { return "no echo" }
func (stageError) Code() string           { return "no_echo" }
func (stageError) Stage() signaling.Stage { return signaling.Proved }

// TestRoots: the next list comes into force, and the document says so.
func TestRoots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		stop := d.serve(a.connect, nil)
		next := must(keys.OpenIdentity(keys.NewMemory(), "root2"))
		lists := must(keys.SignRoots(keys.RootList{N: 2, Roots: []keys.IdentityKey{next.Key(), a.root.Key()}}, a.root, next))
		time.Sleep(time.Second)
		d.take()
		d.send(signaling.Command{ID: "c1", Action: signaling.Roots, Token: lists})
		d.send(signaling.Command{ID: "c1", Action: signaling.Roots, Token: lists})
		time.Sleep(time.Second)
		all := d.take()
		docs, r := kind(keys.TypeStatus, all), kind(keys.TypeReply, all)
		if len(docs) != 1 || docs[0].Roots != 2 || len(r) != 2 || r[1].Count != 0 {
			t.Errorf("documents %+v, replies %+v", docs, r)
		}
		stop()
	})
}

// TestFits: the longest document that a host can cause is still one.
func TestFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		a.device = must(keys.OpenDevice(strings.Repeat("k", 64), keys.NewMemory(), keys.Trust{Roots: []string{a.root.Key().String()}}))
		a.device.Fingerprints([32]byte{1}, [32]byte{2})
		a.device.Rotate()
		d := newDesk(a)
		caps := slices.Repeat([]string{strings.Repeat("c", 32)}, 40)
		stop := d.serve(func(ctx context.Context, s *signaling.Session) error {
			for _, st := range []signaling.Stage{"keyed", "socket", "candidates", "handshake", "proved", "ready"} {
				s.Reach(st)
			}
			s.Report(&signaling.Status{VPN: signaling.Connected, Why: strings.Repeat("\x01", 300), Path: "relay", Code: strings.Repeat("d", 32), RTT: time.Hour})
			<-ctx.Done()
			return nil
		}, &signaling.Config{Caps: caps, Version: strings.Repeat("\"界", 30), Bare: []string{"x"},
			NAT: func() string { return strings.Repeat("n", 32) + "/" + strings.Repeat("n", 31) },
			Checks: func() []signaling.Check {
				w := strings.Repeat("w", 32)
				return append([]signaling.Check{{Name: "not ours"}}, slices.Repeat([]signaling.Check{{Name: w, State: w, Code: w, Detail: strings.Repeat("5", 64)}}, 20)...)
			}})
		id := strings.Repeat("s", 64)
		d.send(signaling.Command{ID: id, Action: signaling.Up, Token: a.grant(id, 1, a.prekey(0))})
		time.Sleep(time.Second)
		docs := kind(keys.TypeStatus, d.take())
		if n := len(docs); n == 0 || docs[n-1].VPN != signaling.Connected || docs[n-1].Outer.Prekeys == nil || docs[n-1].Session != id || len(docs[n-1].Ladder) != 8 || len(docs[n-1].NAT) != 64 {
			t.Errorf("documents %+v", docs)
		}
		t.Logf("document of %d bytes", len(d.broker.Retained("iot/"+a.device.ID()+"/status")))
		stop()
	})
}

// TestChecks: what a host was found to be stands in the document, which is published
// again when that changes, and only then.
func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		now, changed := []signaling.Check(nil), make(chan struct{})
		stop := d.serve(a.connect, &signaling.Config{Checks: func() []signaling.Check { return now }, Changed: changed})
		synctest.Wait()
		if docs := kind(keys.TypeStatus, d.take()); len(docs) != 1 || docs[0].Checks != nil {
			t.Fatalf("first documents: %+v", docs)
		}
		now = slices.Repeat([]signaling.Check{{Name: "ssh", State: "ok"}}, 15)
		now = append(now, signaling.Check{Name: "<b>", State: "ok"}, signaling.Check{Name: "rdp", State: "fail", Code: "refused", Detail: "kiosk/<b>"}, signaling.Check{Name: "one", State: "too_many"})
		changed <- struct{}{}
		time.Sleep(time.Second)
		docs := kind(keys.TypeStatus, d.take())
		if len(docs) != 1 || len(docs[0].Checks) != 16 || docs[0].Checks[15] != (signaling.Check{Name: "rdp", State: "fail", Code: "refused"}) {
			t.Fatalf("documents: %+v", docs)
		}
		close(changed)
		time.Sleep(time.Minute)
		if docs := kind(keys.TypeStatus, d.take()); len(docs) != 0 {
			t.Errorf("documents though nothing changed: %+v", docs)
		}
		stop()
	})
}

// TestLineFails: a line that fails for good ends the session and Serve.
func TestLineFails(t *testing.T) {
	a := newAuthority(t)
	gone := errors.New("wrong password")
	err := signaling.Serve(context.Background(), badLine{gone}, a.device, a.connect, nil)
	if !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
}

type badLine struct{ err error }

func (b badLine) Listen(context.Context, signaling.Sink) error { return b.err }
func (b badLine) Publish([]byte, bool)                         {}

// TestManySessions: two hundred sessions, one after another, each up opened
// once and each key erased.
func TestManySessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		open, calls := 0, 0
		stop := d.serve(func(ctx context.Context, s *signaling.Session) error {
			if open++; open > 1 {
				t.Error("two sessions at once")
			}
			defer func() { open-- }()
			calls++
			return a.connect(ctx, s)
		}, nil)
		for i := range 200 {
			a.device.Rotate()
			id, prekey := fmt.Sprintf("s%d", i), a.prekey(0)
			d.send(signaling.Command{ID: id + ".up", Action: signaling.Up, Token: a.grant(id, 1, prekey)})
			time.Sleep(time.Second)
			d.send(signaling.Command{ID: id + ".down", Action: signaling.Down, Token: a.down(id)})
			time.Sleep(time.Second)
			r := kind(keys.TypeReply, d.take())
			if n := len(r); n == 0 || r[n-1].Re != id+".down" || r[n-1].VPN != signaling.Disconnected {
				t.Fatalf("session %d: replies %+v", i, r)
			}
			if _, _, err := a.device.Accept(a.grant(id, 2, prekey)); code(err) != "closed" {
				t.Fatalf("session %d is not over: %v", i, err)
			}
		}
		if calls != 200 {
			t.Errorf("%d calls", calls)
		}
		stop()
	})
}
