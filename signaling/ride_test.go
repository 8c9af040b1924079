package signaling_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/signaling"
)

// wire is a host's connection: it writes down what is published, and fails
// when told to.
type wire struct {
	mu    sync.Mutex
	sent  []string
	fail  error
	slow  time.Duration
	tries int
}

func (w *wire) publish(ctx context.Context, topic string, payload []byte, retain bool) error {
	w.mu.Lock()
	w.tries++
	slow := w.slow
	w.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail == nil {
		w.sent = append(w.sent, fmt.Sprintf("%s %s %v", topic, payload, retain))
	}
	return w.fail
}

func (w *wire) set(f func()) { w.mu.Lock(); defer w.mu.Unlock(); f() }

func (w *wire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.sent
	w.sent = nil
	return out
}

// ear is a Sink.
type ear struct {
	mu   sync.Mutex
	msgs []signaling.Message
	line []bool
}

func (e *ear) Deliver(m signaling.Message) {
	m.Payload = bytes.Clone(m.Payload)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.msgs = append(e.msgs, m)
}

func (e *ear) Connected(up bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.line = append(e.line, up)
}

func (e *ear) lines() []bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.line)
}

// listen runs l until the returned func is called.
func listen(l signaling.Listener, sink signaling.Sink) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Listen(ctx, sink) }()
	synctest.Wait()
	return func() error { cancel(); return <-done }
}

func TestRideDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, e := new(wire), new(ear)
		r := signaling.RideOn("kiosk-1", w.publish)
		if r.Topic() != "iot/kiosk-1/cmd" {
			t.Errorf("topic %q", r.Topic())
		}
		if !r.Deliver("iot/kiosk-1/cmd", []byte("too early"), false) {
			t.Error("ours, though nobody listens")
		}
		time.Sleep(10 * time.Second)
		for i := range 20 {
			r.Deliver("iot/kiosk-1/cmd", fmt.Append(nil, i), false)
		}
		time.Sleep(9 * time.Second)
		r.Connected(true)
		stop := listen(r, e)
		for topic, want := range map[string]bool{
			"iot/kiosk-1/cmd": true, "iot/kiosk-1/status": false, "iot/kiosk-2/cmd": false,
			"": false, "booth/print": false, "iot/kiosk-1/cmd/x": false, "iot/+/cmd": false,
		} {
			if got := r.Deliver(topic, []byte("x"), true); got != want {
				t.Errorf("Deliver(%q) = %v", topic, got)
			}
		}
		r.Connected(false)
		r.Connected(true)
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Listen: %v", err)
		}
		if len(e.msgs) != 17 || string(e.msgs[0].Payload) != "4" || string(e.msgs[15].Payload) != "19" {
			t.Fatalf("heard %+v", e.msgs)
		}
		if e.msgs = e.msgs[16:]; !e.msgs[0].Retained || e.msgs[0].Device != "kiosk-1" || !slices.Equal(e.line, []bool{true, false, true}) {
			t.Errorf("heard %+v, line %v", e.msgs, e.line)
		}
		stop = listen(r, e) // again
		stop()
	})
}

// TestRideOfAnyID: an id that could change a topic has none.
func TestRideOfAnyID(t *testing.T) {
	for _, id := range []string{"", "+", "#", "a/b", "a\x00", "ä", "kiosk 1", "a/../b"} {
		r := signaling.RideOn(id, new(wire).publish)
		if r.Topic() != "" || r.Deliver("iot/"+id+"/cmd", nil, false) || r.Deliver("", nil, false) {
			t.Errorf("%q has the topic %q", id, r.Topic())
		}
		if err := r.Listen(context.Background(), new(ear)); code(err) != "malformed" {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestRidePublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		r := signaling.RideOn("k", w.publish)
		stop := listen(r, new(ear))
		r.Publish([]byte("doc1"), true)
		r.Publish([]byte("doc2"), true)
		for i := range 40 {
			r.Publish(fmt.Appendf(nil, "r%d", i), false)
		}
		synctest.Wait()
		if got := w.take(); len(got) > 0 {
			t.Errorf("published while down: %v", got)
		}
		r.Connected(true)
		synctest.Wait()
		got := w.take()
		if len(got) != 33 || !slices.Contains(got, "iot/k/status doc2 true") || slices.Contains(got, "iot/k/status doc1 true") ||
			slices.Contains(got, "iot/k/status r7 false") || !slices.Contains(got, "iot/k/status r8 false") {
			t.Errorf("published %v", got)
		}
		if r.Dropped() != 9 {
			t.Errorf("%d dropped, want 9", r.Dropped())
		}
		// What cannot be published is tried again: a reply 3 times, a document
		// until another takes its place.
		w.set(func() { w.fail, w.tries = errors.New("denied"), 0 })
		r.Publish([]byte("reply"), false)
		time.Sleep(time.Hour)
		w.set(func() {
			if w.tries != 3 {
				t.Errorf("a reply was tried %d times", w.tries)
			}
		})
		w.set(func() { w.tries = 0 })
		r.Publish([]byte("reply"), false)
		time.Sleep(time.Hour)
		w.set(func() {
			if w.tries != 3 {
				t.Errorf("the reply after it was tried %d times", w.tries)
			}
		})
		r.Publish([]byte("doc3"), true)
		time.Sleep(time.Hour)
		w.set(func() { w.fail = nil })
		time.Sleep(time.Minute)
		if got := w.take(); !slices.Equal(got, []string{"iot/k/status doc3 true"}) {
			t.Errorf("published %v", got)
		}
		// A slow document does not hold a reply up.
		w.set(func() { w.slow = 10 * time.Second })
		r.Publish([]byte("doc4"), true)
		synctest.Wait()
		w.set(func() { w.slow = 0 })
		r.Publish([]byte("reply2"), false)
		synctest.Wait()
		if got := w.take(); !slices.Equal(got, []string{"iot/k/status reply2 false"}) {
			t.Errorf("published %v", got)
		}
		time.Sleep(time.Minute)
		w.take()
		// The last word goes out when Listen ends; a host that hangs does not
		// keep Listen for long.
		r.Publish([]byte("bye"), true)
		stop()
		if got := w.take(); !slices.Equal(got, []string{"iot/k/status bye true"}) {
			t.Errorf("at the end: %v", got)
		}
		stop = listen(r, new(ear))
		w.set(func() { w.slow = time.Hour })
		r.Publish([]byte("x"), true)
		began := time.Now()
		stop()
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("Listen ended after %v", d)
		}
	})
}

func TestFleetRide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		r := signaling.RideOnFleet(w.publish)
		ctx, cancel := context.WithCancel(context.Background())
		if err := r.Send(ctx, "k", []byte("x")); code(err) != "line_down" {
			t.Errorf("while down: %v", err)
		}
		r.Connected(true)
		for _, id := range []string{"", "+", "#", "a/b", "a/status"} {
			if err := r.Send(ctx, id, []byte("x")); code(err) != "malformed" {
				t.Errorf("to %q: %v", id, err)
			}
		}
		if err := r.Send(ctx, "k", make([]byte, 8193)); code(err) != "oversized" {
			t.Errorf("a long command: %v", err)
		}
		if err := r.Send(ctx, "k", []byte("x")); err != nil || !slices.Equal(w.take(), []string{"iot/k/cmd x false"}) {
			t.Errorf("sent: %v", err)
		}
		var got [2][]signaling.Message
		var wg sync.WaitGroup
		for i := range got {
			statuses := r.Statuses(ctx)
			wg.Go(func() {
				for m, err := range statuses {
					if err != nil {
						t.Error(err)
					}
					got[i] = append(got[i], m)
				}
			})
		}
		buf := []byte("status")
		for topic, want := range map[string]bool{
			"iot/k/status": true, "iot/k/cmd": false, "iot/status": false, "iot//status": false, "iot/a/b/status": false,
			"iot/+/status": false, "x/k/status": false, "iot/k/status/": false, "/status": false, "": false,
		} {
			if ok := r.Deliver(topic, buf, true); ok != want {
				t.Errorf("Deliver(%q) = %v", topic, ok)
			}
		}
		copy(buf, "XXXXXX")
		r.Deliver("iot/k/status", make([]byte, 1<<20), false)
		synctest.Wait()
		cancel()
		wg.Wait()
		for i := range got {
			if len(got[i]) != 2 || string(got[i][0].Payload) != "status" || !got[i][0].Retained || len(got[i][1].Payload) != 4097 {
				t.Errorf("reader %d: %d messages", i, len(got[i]))
			}
		}
		if r.Dropped() != 0 {
			t.Errorf("%d dropped", r.Dropped())
		}
	})
}

// TestFleetRideIsBounded: a reader that does not read costs no memory without
// end, and nobody waits for it.
func TestFleetRideIsBounded(t *testing.T) {
	r := signaling.RideOnFleet(new(wire).publish)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	next := r.Statuses(ctx)
	for range 40000 {
		r.Deliver("iot/k/status", []byte("x"), false)
	}
	n := 0
	for range next {
		if n++; n == 1<<15 {
			break
		}
	}
	if want := uint64(40000 - 1<<15); r.Dropped() != want {
		t.Errorf("%d dropped, want %d", r.Dropped(), want)
	}
}
