package control

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/https"
)

var _ https.Queue = (*Control)(nil)

// Everything that is pushed comes once and in order, over lost answers, a restart and
// pushes meanwhile.
func TestQueue(t *testing.T) {
	w := newWorld(t, nil)
	for _, id := range []string{"a", "b"} {
		if _, err := w.admin.AddDevice(t.Context(), id, w.device(id, keys.NewMemory()).Key()); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	if err := w.c.Push(ctx, "nobody", []byte("x")); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("a push to nobody: %v", err)
	}
	if _, _, err := w.c.Pull(ctx, "nobody", Mark{}); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("a pull of nobody: %v", err)
	}
	if _, err := w.c.DeviceKey(ctx, "nobody"); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("the key of nobody: %v", err)
	}
	woken := 0
	w.c.Notify(func(id string) {
		if id == "a" {
			woken++
		}
	})
	var mark Mark
	pull := func(want string) {
		t.Helper()
		b, at, err := w.c.Pull(ctx, "a", mark)
		if err != nil || string(b) != want || (want == "") != (at.N == 0) || at.Epoch == "" {
			t.Fatalf("pulled %q %+v %v, want %q", b, at, err, want)
		}
		if at.N != 0 {
			mark = at
		}
	}
	push := func(s string) {
		t.Helper()
		if err := w.c.Push(ctx, "a", []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	pull("")
	push("one")
	push("two")
	push("two") // its very bytes wait
	if woken != 3 {
		t.Errorf("woken %d times", woken)
	}
	pull("one")
	again := mark
	mark = Mark{} // the answer was lost
	pull("one")
	if mark != again {
		t.Errorf("another number: %+v, %+v", mark, again)
	}
	w.restart()
	pull("two")
	pull("")
	push("three")
	mark = Mark{Epoch: "another", N: 1 << 62} // a queue of another life says nothing about this one
	pull("three")
	if mark.N <= again.N {
		t.Errorf("number %d after %d", mark.N, again.N)
	}
	pull("")
	for i := range queueDepth {
		push(fmt.Sprint(i))
	}
	if err := w.c.Push(ctx, "a", []byte("more")); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a full queue: %v", err)
	}
	if err := w.c.Push(ctx, "b", []byte("more")); err != nil {
		t.Errorf("another's queue: %v", err)
	}
	for i := range queueDepth {
		pull(fmt.Sprint(i))
	}
	pull("")
}

func TestQueueAges(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	w := newWorld(t, &Config{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	if _, err := w.admin.AddDevice(t.Context(), "a", w.device("a", keys.NewMemory()).Key()); err != nil {
		t.Fatal(err)
	}
	if err := w.c.Push(t.Context(), "a", []byte("old")); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	now = now.Add(queueAge + time.Second)
	mu.Unlock()
	if b, at, err := w.c.Pull(t.Context(), "a", Mark{}); err != nil || at.N != 0 {
		t.Errorf("pulled %q, %v", b, err)
	}
}

// Offers never fill the queue, so that a down has room.
func TestQueueOfOffers(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.admin.AddDevice(t.Context(), "a", w.device("a", keys.NewMemory()).Key()); err != nil {
		t.Fatal(err)
	}
	push := func(cmd signaling.Command) error {
		b, err := cmd.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return w.c.Push(t.Context(), "a", b)
	}
	for i := range 2 * queueDepth {
		err := push(signaling.Command{Action: signaling.Offer, Session: "s", Offer: []byte{byte(i)}})
		if full := errors.Is(err, ErrQueueFull); full != (i >= queueDepth/2) {
			t.Errorf("offer %d: %v", i, err)
		}
	}
	if err := push(signaling.Command{ID: "s.down", Action: signaling.Down, Session: "s"}); err != nil {
		t.Errorf("a down behind offers: %v", err)
	}
}

func TestQueueConcurrently(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.admin.AddDevice(t.Context(), "a", w.device("a", keys.NewMemory()).Key()); err != nil {
		t.Fatal(err)
	}
	const pushers, each = 4, 50
	var wg sync.WaitGroup
	for p := range pushers {
		wg.Go(func() {
			for i := range each {
				for {
					err := w.c.Push(t.Context(), "a", []byte(fmt.Sprint(p, ".", i)))
					if err == nil {
						break
					}
					if !errors.Is(err, ErrQueueFull) {
						t.Error(err)
						return
					}
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	got := map[string]bool{}
	var mark Mark
	deadline := time.Now().Add(patience)
	for len(got) < pushers*each && time.Now().Before(deadline) {
		b, at, err := w.c.Pull(t.Context(), "a", mark)
		if err != nil {
			t.Fatal(err)
		}
		if at.N == 0 {
			continue
		}
		if at.N <= mark.N {
			t.Fatalf("%+v after %+v", at, mark)
		}
		if got[string(b)] {
			t.Fatalf("%s came twice", b)
		}
		got[string(b)] = true
		mark = at
	}
	wg.Wait()
	if len(got) != pushers*each {
		t.Errorf("%d of %d came", len(got), pushers*each)
	}
}

// A device that only polls is served like any other.
func TestSessionOverHTTPS(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	w.stop()
	c := w.openControl()
	sender := https.NewSender(c, nil)
	w.begin(c, sender, w.ride)
	stop := w.stop
	w.stop = sync.OnceFunc(func() { sender.Close(); stop() })
	n.stop()
	n.connect()
	n.follow()

	server := httptest.NewTLSServer(sender)
	defer server.Close()
	b := w.booth("kiosk-1", true)
	line, err := https.NewListener(b.keys, server.URL, &https.Config{Client: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	n.proves(b)
	b.exchanging()
	lctx, hangUp := context.WithCancel(context.Background())
	b.cancel, b.done = hangUp, make(chan struct{})
	go func() {
		defer close(b.done)
		_ = signaling.Serve(lctx, line, b.keys, b.session, &signaling.Config{Caps: []string{capEndToEnd}})
	}()
	b.known()
	s := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	w.mustClose(op("ann"), s.ID)
	w.reaches(s.ID, client.Closed)

	s = w.mustBetween(op("ann"), "kiosk-1")
	offer := strings.Repeat("o", client.MaxOffer-len("re:"))
	if err := w.c.Client(op("ann")).SendOffer(t.Context(), s.ID, []byte(offer)); err != nil {
		t.Fatal(err)
	}
	if got := w.offer(w.c.Client(op("ann")), s.ID); got != "re:"+offer {
		t.Errorf("heard %.20q", got)
	}
	w.reaches(s.ID, client.Connected)
	b.cancel()
	<-b.done
	b.cancel = nil
	server.CloseClientConnections()
}
