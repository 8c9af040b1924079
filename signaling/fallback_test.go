package signaling_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// road is a Listener that connects a second after it starts if it is open,
// and says that it failed every 10 s if not.
type road struct {
	mu      sync.Mutex
	open    bool
	broken  error // it fails for good
	running int
	starts  int
	sink    signaling.Sink
	sent    []string
	quit    time.Duration // how long it takes to end
}

func (r *road) Listen(ctx context.Context, sink signaling.Sink) error {
	r.set(func() { r.running++; r.starts++; r.sink = sink })
	defer r.set(func() { r.running--; r.sink = nil })
	up := false
	for wait := time.Second; ; wait = 10 * time.Second {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			time.Sleep(r.quit)
			return ctx.Err()
		}
		r.mu.Lock()
		open, broken := r.open, r.broken
		r.mu.Unlock()
		switch {
		case broken != nil:
			return broken
		case open && !up:
			up = true
			sink.Connected(true)
		case !open:
			up = false
			sink.Connected(false)
		}
	}
}

func (r *road) Publish(status []byte, retain bool) {
	r.set(func() { r.sent = append(r.sent, string(status)+strconv.FormatBool(retain)) })
}

func (r *road) set(f func()) { r.mu.Lock(); defer r.mu.Unlock(); f() }

// state is which roads run.
func state(roads []*road) (running []int) {
	for i, r := range roads {
		r.mu.Lock()
		if r.running > 1 {
			panic("it runs twice")
		}
		if r.running > 0 {
			running = append(running, i)
		}
		r.mu.Unlock()
	}
	return running
}

func fallback(m signaling.Memory, roads []*road) signaling.Listener {
	var ls []signaling.Listener
	for _, r := range roads {
		ls = append(ls, r)
	}
	return signaling.Fallback(m, ls...)
}

func TestFallbackClimbs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		roads := []*road{{quit: time.Second}, {}, {open: true}}
		m, e := keys.NewMemory(), new(ear)
		f := fallback(m, roads)
		stop := listen(f, e)
		f.Publish([]byte("to nobody"), true)
		for range 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			if n := len(state(roads)); n != 1 {
				t.Fatalf("%d lines in use", n)
			}
		}
		if got := state(roads); !slices.Equal(got, []int{2}) {
			t.Fatalf("in use: %v", got)
		}
		if b, err := m.Load("line"); err != nil || string(b) != "2" {
			t.Errorf("remembered %q, %v", b, err)
		}
		f.Publish([]byte("doc"), true)
		if !slices.Equal(roads[2].sent, []string{"doctrue"}) || roads[0].sent != nil {
			t.Errorf("sent %v, %v", roads[2].sent, roads[0].sent)
		}
		roads[2].sink.Deliver(signaling.Message{Device: "k", Payload: []byte("hi")})
		if len(e.msgs) != 1 {
			t.Errorf("heard %v", e.msgs)
		}
		// No way up for a day: each probe is one line beside the one in use.
		most := 0
		for range 24 * 60 * 6 {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			most = max(most, len(state(roads)))
		}
		if n := roads[0].starts; most != 2 || n < 1+1 || n > 1+4 {
			t.Errorf("%d lines at once, the best was started %d times", most, n)
		}
		if last := e.lines()[len(e.lines())-1]; !last {
			t.Error("the line in use suffered from probes")
		}
		roads[0].set(func() { roads[0].open = true })
		time.Sleep(13 * time.Hour)
		synctest.Wait()
		if got := state(roads); !slices.Equal(got, []int{0}) {
			t.Errorf("in use after the best came back: %v", got)
		}
		f.Publish([]byte("doc2"), true)
		if !slices.Equal(roads[0].sent, []string{"doc2true"}) {
			t.Errorf("sent %v", roads[0].sent)
		}
		if err := stop(); !errors.Is(err, context.Canceled) || len(state(roads)) > 0 {
			t.Errorf("Listen: %v, in use %v", err, state(roads))
		}
	})
}

func TestFallbackRemembers(t *testing.T) {
	for stored, want := range map[string]int{"1": 1, "2": 2, "3": 0, "-1": 0, "x": 0, "": 0} {
		synctest.Test(t, func(t *testing.T) {
			roads := []*road{{open: true}, {open: true}, {open: true}}
			m := keys.NewMemory()
			if err := m.Save("line", []byte(stored)); err != nil {
				t.Fatal(err)
			}
			stop := listen(fallback(m, roads), new(ear))
			time.Sleep(2 * time.Second)
			if got := state(roads); !slices.Equal(got, []int{want}) {
				t.Errorf("remembered %q: in use %v", stored, got)
			}
			stop()
		})
	}
}

type noMemory struct{}

func (noMemory) Load(string) ([]byte, error) { return nil, fs.ErrPermission }
func (noMemory) Save(string, []byte) error   { return fs.ErrPermission }

func TestFallbackFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, worse := errors.New("bad"), errors.New("worse")
		roads := []*road{{broken: bad}, {broken: worse}}
		err := fallback(noMemory{}, roads).Listen(context.Background(), new(ear))
		if !errors.Is(err, bad) || !errors.Is(err, worse) || len(state(roads)) > 0 {
			t.Errorf("got %v, in use %v", err, state(roads))
		}
		if err := signaling.Fallback(nil).Listen(context.Background(), new(ear)); err == nil {
			t.Error("no line is no error")
		}
		// One that fails for good is left for the other.
		roads = []*road{{broken: bad}, {open: true}}
		stop := listen(fallback(nil, roads), new(ear))
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if got := state(roads); !slices.Equal(got, []int{1}) || roads[0].starts != 1 {
			t.Errorf("in use %v, started %d times", got, roads[0].starts)
		}
		stop()
	})
}

// TestFallbackServes runs Serve over two rides, the first of which is dead.
func TestFallbackServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		line := signaling.Fallback(nil, signaling.RideOn("kiosk-1", new(wire).publish), d.broker.Device("kiosk-1"))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- signaling.Serve(ctx, line, a.device, a.connect, nil) }()
		time.Sleep(30 * time.Second)
		d.send(signaling.Command{ID: "c1", Action: signaling.Up, Token: a.grant("s1", 1, a.prekey(0))})
		time.Sleep(time.Second)
		r := kind(keys.TypeReply, d.take())
		if len(r) == 0 || r[len(r)-1].VPN != signaling.Connected {
			t.Errorf("replies %+v", r)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		docs := kind(keys.TypeStatus, d.take())
		if n := len(docs); n == 0 || docs[n-1].VPN != signaling.Disconnected {
			t.Errorf("documents %+v", docs)
		}
	})
}
