package mqtt

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/signaling"
)

// A catcher is a Sink that a test can wait on.
type catcher struct {
	mu    sync.Mutex
	got   []signaling.Message
	ups   int
	downs int
	up    bool
	news  chan struct{}
}

func newCatcher() *catcher { return &catcher{news: make(chan struct{}, 1)} }

func (c *catcher) Deliver(m signaling.Message) {
	m.Payload = append([]byte(nil), m.Payload...)
	c.change(func() { c.got = append(c.got, m) })
}

func (c *catcher) Connected(up bool) {
	c.change(func() {
		if up {
			c.ups++
		} else {
			c.downs++
		}
		c.up = up
	})
}

func (c *catcher) change(f func()) {
	c.mu.Lock()
	f()
	c.mu.Unlock()
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// await returns once ok, called with the lock held, is true.
func (c *catcher) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(40 * time.Second)
	for {
		c.mu.Lock()
		done := ok()
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-c.news:
		case <-late:
			t.Fatalf("no %s", what)
		}
	}
}

func (c *catcher) awaitUp(t *testing.T) {
	t.Helper()
	c.await(t, "connection", func() bool { return c.up })
}

func (c *catcher) awaitMessage(t *testing.T, text string) {
	t.Helper()
	c.await(t, "message "+text, func() bool {
		for _, m := range c.got {
			if string(m.Payload) == text {
				return true
			}
		}
		return false
	})
}

// quick is a Config for tests: retries come soon.
func quick(change ...func(*Config)) *Config {
	cfg := &Config{Spread: 200 * time.Millisecond}
	for _, f := range change {
		f(cfg)
	}
	return cfg
}

// listen runs a Listener for the test and returns what it catches.
func listen(t *testing.T, device, url string, cfg *Config) (*catcher, *Listener) {
	t.Helper()
	l, err := newListener(device, url, cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := newCatcher()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Listen(ctx, c) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != context.Canceled {
				t.Errorf("Listen returned %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Listen does not return")
		}
	})
	return c, l
}

// read runs a Sender for the test; the catcher gets what devices publish.
func read(t *testing.T, url string, cfg *Config) (*catcher, *Sender) {
	t.Helper()
	s, err := NewSender(url, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return readFrom(t, s), s
}

func readFrom(t *testing.T, s *Sender) *catcher {
	t.Helper()
	c := newCatcher()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range s.Statuses(ctx) {
			if err != nil {
				t.Errorf("statuses: %v", err)
				return
			}
			c.Deliver(m)
		}
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Error("Statuses does not end")
		}
	})
	return c
}

// send repeats a command until the line takes it.
func send(t *testing.T, s *Sender, device, text string) {
	t.Helper()
	for range 400 {
		err := s.Send(context.Background(), device, []byte(text))
		if err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the line takes no command")
}

// notices collects what Observe is told.
type notices struct {
	mu  sync.Mutex
	got []signaling.Notice
}

func (n *notices) observe(x signaling.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got = append(n.got, x)
}

func (n *notices) count(code string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	sum := 0
	for _, x := range n.got {
		if x.Kind == NoticeWarning && x.Code == code {
			sum++
		}
	}
	return sum
}

// await polls, for what nothing announces.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 800 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("no %s", what)
}
