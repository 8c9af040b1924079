package relay_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
)

// A relay that dies leaves both ends at the next one of the list.
func TestNextRelay(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.pair()
	if st := a.Stats(); st.Relay != w.list(0)[0].URL || st.Dials != 1 {
		t.Errorf("%+v", st)
	}
	addr := w.relays[0].addr
	w.relays[0].srv.Close() // without a word
	go w.relays[0].stop()
	for _, c := range []*relay.Conn{a, b} {
		w.wait("a pair at the second", func() bool { st := c.Stats(); return st.Paired && st.Relay == w.list(0)[1].URL })
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := a.Check(ctx); err != nil {
		t.Error(err)
	}
	if addr == w.relays[1].addr {
		t.Error("one relay")
	}
}

// The first relay of the list is down from the start.
func TestFirstRelayDown(t *testing.T) {
	w := newWorld(t, 2)
	w.relays[0].stop()
	a, _ := w.pair()
	if st := a.Stats(); st.Relay != w.list(0)[1].URL || st.Dials != 1 {
		t.Errorf("%+v", st)
	}
}

// An end that could not reach their relay for a while stands at another; they find
// each other again.
func TestEndsFindEachOther(t *testing.T) {
	w := newWorld(t, 2)
	road := newRoad(t, w.relays[0].addr)
	list := w.list(0)
	list[0].URL = "https://" + road.addr + "/relay"
	a := must(dial(list, w.keys[0], w.config()))
	defer a.Close()
	b := w.dial(1)
	w.wait("a pair", func() bool { return a.Stats().Paired && b.Stats().Paired })
	road.cut()
	w.wait("a leg at the second", func() bool { return a.Stats().Relay == list[1].URL })
	if b.Stats().Relay != w.list(1)[0].URL {
		t.Fatal("both moved")
	}
	w.wait("a pair again", func() bool { return a.Stats().Paired && b.Stats().Paired })
}

// road is a way to addr that can be cut.
type road struct {
	addr string
	cut  func()
}

func newRoad(t *testing.T, addr string) *road {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	var mu sync.Mutex
	var open []net.Conn
	var work sync.WaitGroup
	work.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			mu.Lock()
			open = append(open, in, out)
			mu.Unlock()
			for _, ends := range [][2]net.Conn{{in, out}, {out, in}} {
				work.Go(func() {
					io.Copy(ends[0], ends[1])
					ends[0].Close()
				})
			}
		}
	})
	r := &road{addr: ln.Addr().String(), cut: func() {
		ln.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			c.Close()
		}
	}}
	t.Cleanup(func() {
		r.cut()
		work.Wait()
	})
	return r
}

// Nothing is lost when a relay is drained, but for what queues let go of on a slow
// machine: the legs stand at the other one before these go.
func TestDrainLosesNothing(t *testing.T) {
	w := newWorld(t, 2)
	w.relays[0].stop()
	w.relays[0].drain = patience
	w.relays[0].start()
	a, b := w.pair()
	var last, count atomic.Int64
	go func() {
		buf := make([]byte, 2000)
		for {
			n, err := b.Read(buf)
			if err != nil {
				return
			}
			if n == 1000 {
				i := int64(binary.BigEndian.Uint64(buf))
				count.Add(1)
				last.Store(max(i, last.Load()))
			}
		}
	}()
	sent := int64(0)
	send := func(n int) {
		p := make([]byte, 1000)
		for range n {
			sent++
			binary.BigEndian.PutUint64(p, uint64(sent))
			if _, err := a.Write(p); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	send(50)
	stopped := make(chan struct{})
	go func() { w.relays[0].stop(); close(stopped) }()
	for a.Stats().Dials < 2 || b.Stats().Dials < 2 {
		send(10)
	}
	<-stopped
	send(200)
	w.wait("the last packet", func() bool {
		if last.Load() == sent {
			return true
		}
		send(1)
		return false
	})
	dropped := func() (bytes uint64) {
		bytes = a.Stats().Dropped
		for _, r := range w.relays {
			st := r.srv.Stats()
			bytes += st.Aged + st.Crowded
		}
		return bytes
	}
	w.wait("none is lost", func() bool { // the latest may still come by the leg before
		return uint64(sent-count.Load()) <= dropped()/1000
	})
	t.Logf("%d of %d packets came", count.Load(), sent)
	if st := b.Stats(); st.Relay != w.list(0)[1].URL || st.Dials != 2 {
		t.Errorf("%+v", st)
	}
}

// Later tokens may name other relays, and the earlier one be gone for good.
func TestRenewForNext(t *testing.T) {
	w := newWorld(t, 2)
	a := must(dial(w.list(0)[:1], w.keys[0], w.config()))
	defer a.Close()
	b := must(dial(w.list(1)[:1], w.keys[1], w.config()))
	defer b.Close()
	w.relays[0].srv.Close()
	go w.relays[0].stop()
	w.wait("no leg", func() bool { return a.Stats().Relay == "" && b.Stats().Relay == "" })
	a.Renew(nil) // says nothing
	a.Renew(w.list(0)[1:])
	b.Renew(w.list(1)[1:])
	for _, c := range []*relay.Conn{a, b} {
		w.wait("a pair", func() bool { st := c.Stats(); return st.Paired && st.Relay == w.list(0)[1].URL })
	}
}

func TestDialErrors(t *testing.T) {
	w := newWorld(t, 1)
	good := w.list(0)
	change := func(f func(r *keys.Relay)) []keys.Relay {
		list := slices.Clone(good)
		f(&list[0])
		return list
	}
	for name, tc := range map[string]struct {
		relays []keys.Relay
		code   string
	}{
		"none":          {nil, "no_relay"},
		"no URL":        {change(func(r *keys.Relay) { r.URL = "::" }), "malformed"},
		"http":          {change(func(r *keys.Relay) { r.URL = "http://127.0.0.1/" }), "malformed"},
		"no token":      {change(func(r *keys.Relay) { r.Token = "" }), "malformed"},
		"bad header":    {change(func(r *keys.Relay) { r.Token = "a.eyJsZWciOjB9.c\r\nHost: evil" }), "malformed"},
		"no key":        {change(func(r *keys.Relay) { r.Key = keys.PublicKey{} }), "malformed"},
		"another key":   {change(func(r *keys.Relay) { r.Key = keys.NewPrivateKey().Public() }), "bad_proof"},
		"nobody there":  {change(func(r *keys.Relay) { r.URL = "https://127.0.0.1:1/relay" }), "unreachable"},
		"another name":  {change(func(r *keys.Relay) { r.URL = "https://localhost" + r.URL[len("https://127.0.0.1"):] }), "tls"},
		"another place": {change(func(r *keys.Relay) { r.URL = r.URL[:len(r.URL)-len("relay")] + "elsewhere" }), "no_relay"},
	} {
		call := dial
		if tc.code == "unreachable" {
			call = func(list []keys.Relay, key keys.PrivateKey, cfg *relay.Config) (*relay.Conn, error) {
				return relay.Dial(t.Context(), list, key, cfg)
			}
		}
		c, err := call(tc.relays, w.keys[0], w.config())
		if codeOf(err) != tc.code {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
		}
		if c != nil {
			c.Close()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := relay.Dial(ctx, good, w.keys[0], w.config()); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that is over: %v", err)
	}
}

func TestConnIsANetConn(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair()
	if a.LocalAddr().(*net.TCPAddr).Port == 0 || a.RemoteAddr().String() != w.relays[0].addr {
		t.Errorf("%v to %v", a.LocalAddr(), a.RemoteAddr())
	}
	for _, p := range [][]byte{nil, make([]byte, 16<<10+1)} {
		if n, err := a.Write(p); n != 0 || err == nil {
			t.Errorf("a packet of %d bytes: %d, %v", len(p), n, err)
		}
	}
	// A short buffer cuts its packet and no other.
	a.WriteBatch([][]byte{[]byte("a long one"), {}, []byte("short")})
	buf := make([]byte, 6)
	for _, want := range []string{"a long", "short"} {
		if n, err := b.Read(buf); err != nil || string(buf[:n]) != want {
			t.Errorf("%q, %v, want %q", buf[:n], err, want)
		}
	}
	read := make(chan error, 1)
	go func() { _, err := b.Read(buf); read <- err }()
	time.Sleep(10 * time.Millisecond)
	b.Close()
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a Read that waited for Close: %v", err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a Write after Close: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-b.Done():
	default:
		t.Error("not done")
	}
}

// A kiosk whose clock is wrong reaches its relay; nobody else passes for that.
func TestCertificates(t *testing.T) {
	w := newWorld(t, 1)
	r := w.relays[0]
	for name, tc := range map[string]struct {
		hosts []string
		end   time.Duration
		code  string
	}{
		"expired":      {[]string{"127.0.0.1"}, -time.Hour, "<nil>"},
		"another name": {[]string{"relay.test"}, time.Hour, "tls"},
	} {
		cert, key := w.ca.Server(name, tc.hosts, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(tc.end)
		})
		r.stop()
		r.tls = &tls.Config{Certificates: []tls.Certificate{w.ca.Pair(cert, key)}}
		r.start()
		c, err := dial(w.list(0), w.keys[0], w.config())
		if codeOf(err) != tc.code {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
		}
		if c != nil {
			c.Close()
		}
	}
	cfg := w.config()
	cfg.TLS = nil // the system's authorities do not know it
	if c, err := dial(w.list(0), w.keys[0], cfg); codeOf(err) != "tls" {
		t.Errorf("%v", err)
		if c != nil {
			c.Close()
		}
	}
}
