package https

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/signaling"
)

// roundTripper calls a handler without a network.
type roundTripper func(r *http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func direct(h http.Handler) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		done := make(chan struct{})
		in := r.Clone(r.Context())
		in.RequestURI = r.URL.RequestURI()
		if in.Body == nil {
			in.Body = http.NoBody
		}
		go func() { defer close(done); h.ServeHTTP(w, in) }()
		select {
		case <-r.Context().Done():
			<-done
			return nil, r.Context().Err()
		case <-done:
			return w.Result(), nil
		}
	}
}

// virtual starts a listener of device a against d inside a bubble.
func virtual(t *testing.T, d *desk, via func(roundTripper) roundTripper, cfg Config) (*Listener, *sink, func()) {
	t.Helper()
	cfg.Client = &http.Client{Transport: via(direct(d.sender))}
	l, err := newListener("a", deviceKey("a"), "https://server/", &cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.links = func() links { return nil }
	s := newSink()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Listen(ctx, s) }()
	return l, s, func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Listen: %v", err)
		}
	}
}

func TestSteadyStateCostsOneRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.sender.fan.join()
		codes := map[int]int{}
		var mu sync.Mutex
		l, _, stop := virtual(t, d, func(next roundTripper) roundTripper {
			return func(r *http.Request) (*http.Response, error) {
				res, err := next(r)
				if err == nil {
					mu.Lock()
					codes[res.StatusCode]++
					mu.Unlock()
				}
				return res, err
			}
		}, Config{})
		for range 60 {
			time.Sleep(time.Minute)
			l.Publish([]byte("document"), true)
		}
		time.Sleep(time.Second)
		mu.Lock()
		if codes[401] != 1 {
			t.Errorf("%d answers were 401, want the first alone: %v", codes[401], codes)
		}
		// An hour of polls of 50 s, give or take a tenth, and 60 statuses.
		if n := codes[204] - 60; n < 60 || n > 85 {
			t.Errorf("%d polls in an hour: %v", n, codes)
		}
		mu.Unlock()
		stop()
	})
}

func TestServerForgetsItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, renewed := newDesk(t), newDesk(t)
		var now atomic.Pointer[desk]
		now.Store(old)
		_, s, stop := virtual(t, old, func(roundTripper) roundTripper {
			return func(r *http.Request) (*http.Response, error) { return direct(now.Load().sender)(r) }
		}, Config{})
		for i := range 5 {
			old.sender.Send(t.Context(), "a", fmt.Append(nil, "old ", i))
		}
		time.Sleep(time.Second)
		// The new one has fewer commands than the old one had.
		now.Store(renewed)
		renewed.sender.Send(t.Context(), "a", []byte("new 0"))
		old.sender.Close()
		time.Sleep(5 * time.Minute)
		renewed.sender.Send(t.Context(), "a", []byte("new 1"))
		time.Sleep(time.Second)
		want := "[old 0 old 1 old 2 old 3 old 4 new 0 new 1]"
		if got := fmt.Sprint(s.got()); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
		stop()
	})
}

func TestRefusedDeviceAsksRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.queue.Forget("a")
		var calls atomic.Int64
		_, s, stop := virtual(t, d, func(next roundTripper) roundTripper {
			return func(r *http.Request) (*http.Response, error) { calls.Add(1); return next(r) }
		}, Config{})
		time.Sleep(time.Hour)
		if n := calls.Load(); n > 60 || n < 12 {
			t.Errorf("%d requests in an hour of refusals", n)
		}
		d.queue.Register("a", publicKey("a"))
		time.Sleep(backoffRefusedMost + time.Second)
		if up, _ := s.line(); !up {
			t.Error("not up after it was registered")
		}
		stop()
	})
}

func TestEarlyPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		var calls atomic.Int64
		_, _, stop := virtual(t, d, func(next roundTripper) roundTripper {
			return func(r *http.Request) (*http.Response, error) {
				calls.Add(1)
				r = r.Clone(r.Context())
				r.Header.Del("Authorization")
				return &http.Response{StatusCode: 204, Body: http.NoBody, Header: http.Header{headerEpoch: {"E"}}}, nil
			}
		}, Config{})
		time.Sleep(time.Hour)
		if n := calls.Load(); n > 1000 {
			t.Errorf("%d requests in an hour to a server that lets none wait", n)
		}
		stop()
	})
}

func TestStaleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		var calls, fails atomic.Int64
		fails.Store(1)
		_, s, stop := virtual(t, d, func(next roundTripper) roundTripper {
			return func(r *http.Request) (*http.Response, error) {
				if calls.Add(1) > 4 && fails.Add(-1) >= 0 {
					return nil, io.EOF
				}
				return next(r)
			}
		}, Config{Spread: 1000 * time.Hour})
		time.Sleep(10 * time.Minute)
		if up, ups := s.line(); !up || ups != 1 {
			t.Errorf("one early failure: up %v, %d times; want once", up, ups)
		}
		before := calls.Load()
		fails.Store(2)
		time.Sleep(2 * time.Minute)
		if up, _ := s.line(); up || calls.Load() > before+3 {
			t.Errorf("two early failures: up %v, %d requests; want down", up, calls.Load()-before)
		}
		stop()
	})
}

func TestProxyTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		_, s, stop := virtual(t, d, func(next roundTripper) roundTripper {
			return func(r *http.Request) (*http.Response, error) {
				ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
				defer cancel()
				res, err := next(r.WithContext(ctx))
				if err != nil && r.Context().Err() == nil {
					return &http.Response{StatusCode: 504, Body: http.NoBody, Header: http.Header{}}, nil
				}
				return res, err
			}
		}, Config{})
		time.Sleep(time.Hour)
		if up, ups := s.line(); ups != 1 || !up {
			t.Errorf("behind a proxy of 30 s the line came up %d times, up %v; want once", ups, up)
		}
		stop()
	})
}

func TestOversizedAndUnnumbered(t *testing.T) {
	answers := []*http.Response{
		{StatusCode: 204, Header: http.Header{headerEpoch: {"E"}}},
		{StatusCode: 200, Header: http.Header{headerEpoch: {"E"}, headerCommand: {"1"}}, Body: io.NopCloser(strings.NewReader(strings.Repeat("x", signaling.MaxCommand+1)))},
		{StatusCode: 200, Header: http.Header{headerEpoch: {"E"}, headerCommand: {"2"}}, Body: io.NopCloser(strings.NewReader("good"))},
		{StatusCode: 200, Header: http.Header{headerEpoch: {"E"}, headerCommand: {"2"}}, Body: io.NopCloser(strings.NewReader("again"))},
		{StatusCode: 200, Header: http.Header{headerEpoch: {"E"}}, Body: io.NopCloser(strings.NewReader("unnumbered"))},
		{StatusCode: 200, Header: http.Header{headerEpoch: {"a b"}, headerCommand: {"3"}}, Body: io.NopCloser(strings.NewReader("bad epoch"))},
		{StatusCode: 302, Header: http.Header{"Location": {"https://elsewhere/"}}},
		{StatusCode: 500, Header: http.Header{}},
	}
	synctest.Test(t, func(t *testing.T) {
		var hosts []string
		i := 0
		_, s, stop := virtual(t, newDesk(t), func(roundTripper) roundTripper {
			return func(r *http.Request) (*http.Response, error) {
				hosts = append(hosts, r.URL.Host)
				if i == len(answers) {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				i++
				a := answers[i-1]
				if a.Body == nil {
					a.Body = http.NoBody
				}
				return a, nil
			}
		}, Config{})
		time.Sleep(time.Hour)
		stop()
		if got := fmt.Sprint(s.got()); got != "[good]" {
			t.Errorf("delivered %v, want [good]", got)
		}
		if s := fmt.Sprint(hosts); strings.Contains(s, "elsewhere") || i != len(answers) {
			t.Errorf("%d of %d answers used, hosts %v", i, len(answers), s)
		}
	})
}

func TestOutboxBounds(t *testing.T) {
	o := newOutbox()
	o.put([]byte("document"), true)
	for i := range 2 * outboxDepth {
		o.put(fmt.Append(nil, i), false)
	}
	if n := len(o.waiting); n != outboxDepth {
		t.Errorf("%d wait, want %d", n, outboxDepth)
	}
	if got := string(o.waiting[0].status); got != "document" {
		t.Errorf("first is %q, want the document", got)
	}
	if got := string(o.waiting[outboxDepth-1].status); got != "127" {
		t.Errorf("last is %q, want 127", got)
	}
	o.put([]byte("newer"), true)
	if n := len(o.waiting); n != outboxDepth || string(o.waiting[n-1].status) != "newer" || string(o.waiting[0].status) == "document" {
		t.Errorf("a newer document did not take the place of the older")
	}
}

func TestStatusRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		l, _, stop := virtual(t, d, func(next roundTripper) roundTripper { return next }, Config{})
		l.Publish([]byte("1"), false)
		l.Publish([]byte("2"), false)
		time.Sleep(5 * time.Second) // nobody reads yet
		got := d.sender.fan.join()
		time.Sleep(time.Minute)
		if len(got) != 2 {
			t.Fatalf("%d came through, want 2", len(got))
		}
		if a, b := <-got, <-got; string(a.Payload) != "1" || string(b.Payload) != "2" {
			t.Errorf("got %s, %s; want 1, 2", a.Payload, b.Payload)
		}
		stop()
	})
}

func TestLastWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		got := d.sender.fan.join()
		slow := func(next roundTripper) roundTripper {
			return func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPost {
					time.Sleep(300 * time.Millisecond)
				}
				return next(r)
			}
		}
		l, s, stop := virtual(t, d, slow, Config{})
		synctest.Wait()
		for i := range 9 {
			l.Publish(fmt.Append(nil, i), false)
		}
		began := time.Now()
		stop()
		if took := time.Since(began); took > lastWords+300*time.Millisecond || len(got) < 3 {
			t.Errorf("%d statuses came within %v of the end, want several within %v", len(got), took, lastWords)
		}
		if up, _ := s.line(); up {
			t.Error("the line is still up")
		}
	})
}

func TestBackoff(t *testing.T) {
	const n = 2000
	var most, least time.Duration = 0, time.Hour
	for range n {
		b := backoff{spread: 60 * time.Second}
		first := b.next(time.Hour, false)
		most, least = max(most, first), min(least, first)
		for i, want := range []time.Duration{10, 20, 40, 60, 60} {
			want *= time.Second
			if got := b.next(0, false); got < want/2 || got > want {
				t.Fatalf("pause %d: %v, want %v to %v", i+2, got, want/2, want)
			}
		}
		if got := b.next(backoffLived-1, false); got < 30*time.Second {
			t.Fatalf("a short life reset the pause: %v", got)
		}
		if got := b.next(backoffLived, false); got >= 60*time.Second {
			t.Fatalf("a life did not reset the pause: %v", got)
		}
	}
	if least > time.Second || most < 59*time.Second {
		t.Errorf("first pauses lie in %v to %v, want all of 0 to 60 s", least, most)
	}
	b := backoff{spread: 0}
	if got := b.next(time.Hour, false); got != 0 {
		t.Errorf("without a spread: %v", got)
	}
	if got := b.next(0, false); got < 5*time.Second {
		t.Errorf("without a spread, second: %v", got)
	}
}

func TestLinkChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Listener{cfg: Config{Spread: time.Hour}}
		home := links{netip.MustParseAddr("192.0.2.1")}
		l.before = home
		var now atomic.Pointer[links]
		now.Store(&home)
		l.links = func() links { return *now.Load() }
		time.AfterFunc(10*time.Minute, func() { now.Store(&links{}) })
		began := time.Now()
		if err := l.sleep(t.Context(), time.Hour, false); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < 10*time.Minute || d > 10*time.Minute+linkPeriod+linkSpread {
			t.Errorf("slept %v, want 10 min and a little", d)
		}
		began = time.Now()
		l.sleep(t.Context(), time.Hour, true)
		if d := time.Since(began); d != time.Hour {
			t.Errorf("refused, slept %v, want an hour", d)
		}
	})
}

// from is a connection from an address.
type from struct {
	net.Conn
	addr net.Addr
}

func (f from) LocalAddr() net.Addr { return f.addr }

func TestPollEndsWithItsAddress(t *testing.T) {
	for name, tt := range map[string]struct {
		local netip.Addr
		after links
		ends  bool
	}{
		"gone":      {netip.MustParseAddr("192.0.2.1"), links{netip.MustParseAddr("192.0.2.2")}, true},
		"all gone":  {netip.MustParseAddr("192.0.2.1"), links{}, true},
		"one more":  {netip.MustParseAddr("192.0.2.1"), links{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, false},
		"mapped":    {netip.MustParseAddr("::ffff:192.0.2.1"), links{netip.MustParseAddr("192.0.2.1")}, false},
		"loopback":  {netip.MustParseAddr("127.0.0.1"), links{}, false},
		"not known": {netip.MustParseAddr("192.0.2.1"), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := watchLink(t.Context(), func() links { return tt.after })
				defer stop()
				httptrace.ContextClientTrace(ctx).GotConn(httptrace.GotConnInfo{
					Conn: from{addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(tt.local, 5))},
				})
				time.Sleep(10 * linkPeriod)
				if ended := context.Cause(ctx) == errLink; ended != tt.ends {
					t.Errorf("ended %v, want %v", ended, tt.ends)
				}
			})
		})
	}
}

func TestParseBase(t *testing.T) {
	for in, want := range map[string]string{
		"https://control.example.com":     "https://control.example.com/device/",
		"https://control.example.com/":    "https://control.example.com/device/",
		"https://control.example.com/x/y": "https://control.example.com/x/y/",
		"http://127.0.0.1:8080":           "http://127.0.0.1:8080/device/",
		"http://[::1]:8080/d/":            "http://[::1]:8080/d/",
		"http://control.example.com":      "",
		"ftp://control.example.com":       "",
		"https://u:p@control.example.com": "",
		"https://control.example.com?x=1": "",
		"control.example.com":             "",
		"https://":                        "",
	} {
		got, _, err := parseBase(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v; want %q", in, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "u:p") {
			t.Errorf("error tells a password: %v", err)
		}
	}
}

func TestUntrustedServer(t *testing.T) {
	r := newRig(t, nil)
	l := r.listener("kiosk", "", &Config{TLS: &tls.Config{}, Spread: time.Millisecond})
	s := listen(t, l)
	time.Sleep(200 * time.Millisecond)
	if _, ups := s.line(); ups != 0 {
		t.Error("the line came up on a certificate of nobody's")
	}
}
