package https

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
	"go.uber.org/zap"
)

// cutter is a TCP proxy that cuts most connections after a random number of bytes in
// either direction, or after a random time.
type cutter struct {
	ln   net.Listener
	to   string
	calm bool // cut by cutAll only
	wg   sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]bool
	accepted int
	cuts     int
}

func newCutter(t *testing.T, to string, calm bool) *cutter {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{ln: ln, to: to, calm: calm, conns: make(map[net.Conn]bool)}
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		ln.Close()
		c.cutAll()
		c.wg.Wait()
	})
	return c
}

func (c *cutter) cutAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		conn.Close()
	}
}

func (c *cutter) accept() {
	for {
		in, err := c.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", c.to)
		if err != nil {
			in.Close()
			continue
		}
		c.mu.Lock()
		c.conns[in], c.conns[out] = true, true
		c.accepted++
		c.mu.Unlock()
		cut := sync.OnceFunc(func() {
			in.Close()
			out.Close()
			c.mu.Lock()
			delete(c.conns, in)
			delete(c.conns, out)
			c.cuts++
			c.mu.Unlock()
		})
		// A handshake is about 1,500 bytes, a poll 400 up and 500 down.
		if !c.calm {
			time.AfterFunc(rand.N(400*time.Millisecond), cut)
		}
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			limit := 1000 + rand.Int64N(8000)
			if c.calm {
				limit = 1 << 40
			}
			c.wg.Go(func() {
				io.CopyN(pair[1], pair[0], limit)
				cut()
			})
		}
	}
}

// mangler repeats requests, loses answers, holds them back, and gives old ones again.
type mangler struct {
	next http.RoundTripper

	mu       sync.Mutex
	old      []*kept
	accepted int // repeated requests that were answered as if they were new
}

type kept struct {
	code   int
	header http.Header
	body   []byte
}

func (m *mangler) RoundTrip(r *http.Request) (*http.Response, error) {
	status := r.Method == http.MethodPost
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	send := func(ctx context.Context) (*kept, error) {
		again := r.Clone(ctx)
		again.Body, again.ContentLength = nil, int64(len(body))
		if len(body) > 0 {
			again.Body = io.NopCloser(&onceReader{body})
		}
		res, err := m.next.RoundTrip(again)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		data, err := io.ReadAll(res.Body)
		return &kept{res.StatusCode, res.Header, data}, err
	}
	if rand.IntN(8) == 0 && !status {
		m.mu.Lock()
		var k *kept
		if len(m.old) > 0 {
			k = m.old[rand.IntN(len(m.old))]
		}
		m.mu.Unlock()
		if k != nil {
			return k.response(r), nil
		}
	}
	k, err := send(r.Context())
	if err != nil {
		return nil, err
	}
	if rand.IntN(4) == 0 {
		// The same request again: its nonce is spent.
		if again, err := send(r.Context()); err == nil && again.code/100 == 2 && k.code/100 == 2 {
			m.mu.Lock()
			m.accepted++
			m.mu.Unlock()
		}
	}
	if !status {
		m.mu.Lock()
		m.old = append(m.old, k)
		m.mu.Unlock()
	}
	switch rand.IntN(8) {
	case 0:
		return nil, errors.New("answer lost")
	case 1:
		time.Sleep(rand.N(50 * time.Millisecond))
	}
	return k.response(r), nil
}

func (k *kept) response(r *http.Request) *http.Response {
	return &http.Response{StatusCode: k.code, Header: k.header.Clone(), Body: io.NopCloser(&onceReader{k.body}), Request: r, ProtoMajor: 1, ProtoMinor: 1}
}

type onceReader struct{ b []byte }

func (o *onceReader) Read(p []byte) (int, error) {
	if len(o.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, o.b)
	o.b = o.b[n:]
	return n, nil
}

// TestChaos: whatever happens to connections, requests and answers, each command comes
// once and in order.
func TestChaos(t *testing.T) {
	const devices, commands = 3, 30
	r := newRig(t, nil)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		last := map[string]int{}
		for m := range r.sender.Statuses(ctx) {
			var n int
			fmt.Sscanf(string(m.Payload), "status %d", &n)
			if n < last[m.Device] {
				t.Errorf("%s: status %d after %d", m.Device, n, last[m.Device])
			}
			last[m.Device] = n
		}
	}()
	cut := newCutter(t, r.addr, false)
	var all sync.WaitGroup
	for i := range devices {
		device := fmt.Sprint("kiosk-", i)
		cfg := r.config()
		cfg.Poll = time.Second
		cfg.Logger = zap.NewNop()
		m := &mangler{next: newTransport("127.0.0.1", cfg)}
		cfg.Client = &http.Client{Transport: m}
		l := r.listener(device, "https://"+cut.ln.Addr().String(), cfg)
		s := listen(t, l)
		all.Go(func() {
			var want []string
			for n := range commands {
				want = append(want, fmt.Sprintf("%s command %d", device, n))
				for {
					err := r.sender.Send(ctx, device, []byte(want[n]))
					if err == nil {
						break
					}
					if !errors.Is(err, ErrQueueFull) {
						t.Error(err)
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
				l.Publish(fmt.Append(nil, "status ", n), n%3 == 0)
				time.Sleep(rand.N(20 * time.Millisecond))
			}
			s.untilCommands(t, commands)
			time.Sleep(100 * time.Millisecond) // for what should not come
			if got := s.got(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %q, want %q", got, want)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.accepted > 0 {
				t.Errorf("%d repeated requests were accepted", m.accepted)
			}
			m.next.(*http.Transport).CloseIdleConnections()
		})
	}
	all.Wait()
	cut.mu.Lock()
	t.Logf("%d connections cut", cut.cuts)
	if cut.cuts < devices {
		t.Error("nothing was cut")
	}
	cut.mu.Unlock()
}

// TestOneConnection: polls, their time-outs and commands share a connection; and when it is
// cut, nothing reconnects before its time, not even net/http by itself.
func TestOneConnection(t *testing.T) {
	r := newRig(t, nil)
	proxy := newCutter(t, r.addr, true)
	cfg := r.config()
	cfg.Poll, cfg.Spread = 3*time.Second, time.Hour
	s := listen(t, r.listener("kiosk", "https://"+proxy.ln.Addr().String(), cfg))
	s.untilUp(t)
	for i := range 20 {
		if err := r.sender.Send(t.Context(), "kiosk", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		s.untilCommands(t, i+1)
	}
	poll := func() *parked {
		for _, p := range r.sender.lot.waiting("kiosk") {
			return p
		}
		return nil
	}
	eventually(t, "it is parked", func() bool { return poll() != nil })
	first := poll()
	eventually(t, "a time-out has passed", func() bool { return poll() != nil && poll() != first })
	eventually(t, "the poll is not a fresh one", func() bool {
		now := poll()
		time.Sleep(staleWithin + 100*time.Millisecond)
		return now != nil && poll() == now
	})
	proxy.cutAll()
	s.until(t, "the line is down", func(s *sink) bool { return !s.up })
	time.Sleep(200 * time.Millisecond)
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	if proxy.accepted != 1 {
		t.Errorf("%d connections, want 1", proxy.accepted)
	}
}

// TestDevice is the way of a keys.Device.
func TestDevice(t *testing.T) {
	root, err := keys.OpenIdentity(keys.NewMemory(), "root")
	if err != nil {
		t.Fatal(err)
	}
	device, err := keys.OpenDevice("kiosk", keys.NewMemory(), keys.Trust{Roots: []string{root.Key().String()}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, nil)
	if err := r.queue.Register(device.ID(), device.Key()); err != nil {
		t.Fatal(err)
	}
	l, err := NewListener(device, r.url(), r.config())
	if err != nil {
		t.Fatal(err)
	}
	s := listen(t, l)
	s.untilUp(t)
	if err := r.sender.Send(t.Context(), "kiosk", []byte(`{"action":"vpn_up"}`)); err != nil {
		t.Fatal(err)
	}
	s.untilCommands(t, 1)
}
