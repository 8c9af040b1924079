package https

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/signaling"
)

// unhijackable hides everything but the three methods.
type unhijackable struct{ http.ResponseWriter }

func TestDelivery(t *testing.T) {
	wraps := map[string]func(http.Handler) http.Handler{
		"taken over": nil,
		"by goroutine": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(unhijackable{w}, r) })
		},
	}
	for name, wrap := range wraps {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, wrap)
			l := r.listener("kiosk", "", nil)
			s := listen(t, l)
			s.untilUp(t)
			var want []string
			for i := range 20 {
				if i%5 == 0 {
					s.untilCommands(t, i)
					eventually(t, "it is parked", func() bool { return r.parked() == 1 })
				}
				want = append(want, fmt.Sprint("command ", i))
				if err := r.sender.Send(t.Context(), "kiosk", []byte(want[i])); err != nil {
					t.Fatal(err)
				}
			}
			s.untilCommands(t, len(want))
			if got := s.got(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if _, ups := s.line(); ups != 1 {
				t.Errorf("the line came up %d times, want once", ups)
			}
		})
	}
}

func TestDeliveryHTTP2(t *testing.T) {
	r := newRig(t, nil)
	r.server.Close()
	r.serve("127.0.0.1:0", nil, func(s *http.Server) { s.Protocols.SetHTTP2(true) })
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.pool}, ForceAttemptHTTP2: true}
	l := r.listener("kiosk", "", &Config{Client: &http.Client{Transport: transport}})
	s := listen(t, l)
	s.untilUp(t)
	eventually(t, "it is parked", func() bool { return r.parked() == 1 })
	if err := r.sender.Send(t.Context(), "kiosk", []byte("up")); err != nil {
		t.Fatal(err)
	}
	s.untilCommands(t, 1)
}

func TestSendRefuses(t *testing.T) {
	d := newDesk(t)
	for _, tt := range []struct {
		device  string
		command []byte
	}{
		{"a/b", []byte("x")}, {"a", nil}, {"a", make([]byte, signaling.MaxCommand+1)},
	} {
		if err := d.sender.Send(t.Context(), tt.device, tt.command); err == nil {
			t.Errorf("sent %d bytes to %q", len(tt.command), tt.device)
		}
	}
	if err := d.sender.Send(t.Context(), "nobody", []byte("x")); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("to nobody: %v", err)
	}
	if err := d.sender.Send(t.Context(), "a", make([]byte, signaling.MaxCommand)); err != nil {
		t.Errorf("the largest: %v", err)
	}
}

func TestPollWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		poll := func(query string) *http.Response {
			return d.do(d.signed("GET", "a", "commands", query, d.nonce("a"), nil))
		}
		began := time.Now()
		res := poll("wait=50")
		if res.StatusCode != 204 || time.Since(began) != 50*time.Second {
			t.Errorf("%d after %v, want 204 after 50 s", res.StatusCode, time.Since(began))
		}
		if n := strings.Count(res.Header.Get(headerNonce), ","); n != 1 {
			t.Errorf("nonces %q, want two", res.Header.Get(headerNonce))
		}
		epoch := res.Header.Get(headerEpoch)
		began = time.Now()
		time.AfterFunc(7*time.Second, func() { d.sender.Send(t.Context(), "a", []byte("up")) })
		res = poll("wait=50&epoch=" + epoch)
		if res.StatusCode != 200 || time.Since(began) != 7*time.Second || res.Header.Get(headerCommand) != "1" {
			t.Errorf("%d after %v, number %q", res.StatusCode, time.Since(began), res.Header.Get(headerCommand))
		}
		// Two may wait; the third sends the first away.
		codes := make(chan int, 3)
		for range 3 {
			go func() { codes <- poll("after=1&wait=50&epoch=" + epoch).StatusCode }()
			time.Sleep(time.Second)
		}
		if code := <-codes; code != 503 {
			t.Errorf("the first of three got %d, want 503", code)
		}
		d.sender.Send(t.Context(), "a", []byte("down"))
		if a, b := <-codes, <-codes; a != 200 || b != 200 {
			t.Errorf("the others got %d and %d, want 200", a, b)
		}
		// A request that ends leaves nothing.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d.do(d.signed("GET", "a", "commands", "after=2&wait=50&epoch="+epoch, d.nonce("a"), nil).WithContext(ctx))
		if n := len(d.sender.lot.waiting("")); n != 0 {
			t.Errorf("%d polls left", n)
		}
		// Close ends what waits and what comes.
		go func() { codes <- poll("after=2&wait=50&epoch=" + epoch).StatusCode }()
		time.Sleep(time.Second)
		d.sender.Close()
		if code := <-codes; code != 503 {
			t.Errorf("at Close a poll got %d, want 503", code)
		}
		if res := d.do(d.signed("POST", "a", "status", "", d.nonce("a"), []byte("{}"))); res.StatusCode != 503 {
			t.Errorf("after Close a status got %d, want 503", res.StatusCode)
		}
		if len(d.sender.lot.devices) != 0 {
			t.Error("the lot is not empty")
		}
	})
}

// hasty pushes a command after a Pull looked and before it returns.
type hasty struct {
	*Memory
	once sync.Once
}

func (h *hasty) Pull(ctx context.Context, device string, after Mark) ([]byte, Mark, error) {
	command, at, err := h.Memory.Pull(ctx, device, after)
	h.once.Do(func() { h.Push(ctx, device, []byte("up")) })
	return command, at, err
}

func TestPushWhileParking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.sender = NewSender(&hasty{Memory: d.queue}, nil)
		began := time.Now()
		res := d.do(d.signed("GET", "a", "commands", "wait=50", d.nonce("a"), nil))
		if res.StatusCode != 200 || time.Since(began) != 0 {
			t.Errorf("%d after %v, want 200 at once", res.StatusCode, time.Since(began))
		}
	})
}

func TestWakeAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		code := make(chan int)
		go func() {
			code <- d.do(d.signed("GET", "a", "commands", "wait=50", d.nonce("a"), nil)).StatusCode
		}()
		synctest.Wait()
		// A queue that lost its notifications says so.
		d.queue.push("a", []byte("up"))
		began := time.Now()
		d.sender.wake("")
		if c := <-code; c != 200 || time.Since(began) != 0 {
			t.Errorf("%d after %v, want 200 at once", c, time.Since(began))
		}
	})
}

func TestStatuses(t *testing.T) {
	r := newRig(t, nil)
	l := r.listener("kiosk", "", nil)
	l.Publish([]byte("document 1"), true)
	l.Publish([]byte("reply"), false)
	l.Publish([]byte("document 2"), true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range r.sender.Statuses(ctx) {
			if err != nil {
				t.Error(err)
			}
			got = append(got, fmt.Sprint(m.Device, " ", string(m.Payload), " ", m.Retained))
			if len(got) == 2 {
				l.Publish([]byte("another"), false)
			}
			if len(got) == 3 {
				return
			}
		}
	}()
	listen(t, l)
	<-done
	want := "[kiosk reply false kiosk document 2 false kiosk another false]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestStatusesNeedReader(t *testing.T) {
	d := newDesk(t)
	post := func() int {
		return d.do(d.signed("POST", "a", "status", "", d.nonce("a"), []byte("{}"))).StatusCode
	}
	if code := post(); code != 503 {
		t.Errorf("nobody reads: %d, want 503", code)
	}
	one, two := d.sender.fan.join(), d.sender.fan.join()
	for len(one) < cap(one) {
		one <- signaling.Message{}
	}
	if code := post(); code != 503 || len(two) != 0 {
		t.Errorf("one reader is full: %d and %d read by the other, want 503 and 0", code, len(two))
	}
	d.sender.fan.leave(one)
	if code := post(); code != 204 || len(two) != 1 {
		t.Errorf("the other alone: %d and %d, want 204 and 1", code, len(two))
	}
}

func TestShutdownEndsPolls(t *testing.T) {
	r := newRig(t, nil)
	s := listen(t, r.listener("kiosk", "", &Config{TLS: &tls.Config{RootCAs: r.pool}, Spread: time.Hour}))
	s.untilUp(t)
	eventually(t, "it is parked", func() bool { return r.parked() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	s.until(t, "the line is down", func(s *sink) bool { return !s.up })
	if n := r.parked(); n != 0 {
		t.Errorf("%d polls left", n)
	}
}
