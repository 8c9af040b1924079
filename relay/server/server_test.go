package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/relay/server"
)

func codeOf(err error) string {
	if e, ok := errors.AsType[*relay.Error](err); ok {
		return e.Code()
	}
	return fmt.Sprint(err)
}

func TestRelay(t *testing.T) {
	w := newWorld(t)
	s := w.session()
	a, b := s.pair()
	w.send(a, b, []byte("there"))
	w.send(b, a, bytes.Repeat([]byte("back"), 4096)) // the longest
	w.batch(a, b)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if rtt, err := a.Check(ctx); err != nil || rtt <= 0 {
		t.Errorf("check: %v, %v", rtt, err)
	}
	if st := w.srv.Stats(); st.Sessions != 1 || st.Legs != 2 || st.Open != 0 || st.Bytes == 0 {
		t.Errorf("%+v", st)
	}
	a.Close()
	w.wait("the other end alone", func() bool { return !b.Stats().Paired })
	if _, err := b.Check(ctx); !errors.Is(err, relay.ErrAlone) {
		t.Errorf("a check with nobody: %v", err)
	}
	b.Close()
	if r := w.last(); r.Session != s.id || r.Code != "gone" || r.Bytes[0] < 20*1300 || r.Paired <= 0 {
		t.Errorf("%+v", r)
	}
}

func TestRelayRefuses(t *testing.T) {
	w := newWorld(t)
	good := w.session()
	a, b := good.pair()
	for name, tc := range map[string]struct {
		change func(*keys.Token)
		by     *keys.Signer
		key    keys.PrivateKey
		code   string
	}{
		"forged":         {by: stranger(), code: keys.ReasonUnknownSigner},
		"expired":        {change: func(t *keys.Token) { t.End = time.Now().Add(-time.Second) }, code: keys.ReasonExpired},
		"another relay":  {change: func(t *keys.Token) { t.Relays = []string{"r-2"} }, code: keys.ReasonWrongRelay},
		"another's key":  {key: keys.NewPrivateKey(), code: "bad_proof"},
		"the other role": {change: func(t *keys.Token) { t.Leg = 1 }, code: "bad_proof"},
	} {
		token, key := good.token(0, 1), good.keys[0]
		if tc.change != nil {
			tc.change(&token)
		}
		signer := w.signer
		if tc.by != nil {
			signer = tc.by
		}
		if !tc.key.IsZero() {
			key = tc.key
		}
		rs := []keys.Relay{{URL: "https://" + w.addr + "/relay", Key: w.key.Public(), Token: string(must(token.Sign(signer)))}}
		if c, err := dial(rs, key, w.config()); codeOf(err) != tc.code {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
			if c != nil {
				c.Close()
			}
		}
	}
	// Nobody of them disturbed those who are there.
	w.send(a, b, []byte("still"))
	w.send(b, a, []byte("there"))
	if st := w.srv.Stats(); st.Legs != 2 || st.Refused != 5 {
		t.Errorf("%+v", st)
	}
}

// batch sees that one keeps its packets apart, and their order. It sends another where
// some became too old on a busy machine.
func (w *world) batch(a, b *relay.Conn) {
	w.t.Helper()
	got := make(chan []byte, 1024)
	go func() {
		bufs, sizes := make([][]byte, 8), make([]int, 8)
		for i := range bufs {
			bufs[i] = make([]byte, 2000)
		}
		for {
			n, err := b.ReadBatch(bufs, sizes)
			if err != nil {
				return
			}
			for i := range n {
				got <- bytes.Clone(bufs[i][:sizes[i]])
			}
		}
	}()
	dropped := func() uint64 { return a.Stats().Dropped + w.srv.Stats().Dropped }
	for round, end := byte(0), time.Now().Add(patience); ; round++ {
		before := dropped()
		var batch [][]byte
		for i := range 20 {
			batch = append(batch, bytes.Repeat([]byte{round, byte(i)}, 650))
		}
		if _, err := a.WriteBatch(batch); err != nil {
			w.t.Fatal(err)
		}
		came := 0
		for came < len(batch) {
			select {
			case p := <-got:
				if len(p) != 1300 || p[0] != round {
					continue // sent again while the first was under way, or of a batch before
				}
				if !bytes.Equal(p, batch[came]) && dropped() == before {
					w.t.Fatalf("packet %d came as % x", came, p[:2])
				}
				came++
				continue
			case <-time.After(100 * time.Millisecond):
			}
			if dropped() != before {
				break
			}
			if time.Now().After(end) {
				w.t.Fatalf("%d of %d packets came", came, len(batch))
			}
		}
		if came == len(batch) && dropped() == before {
			return
		}
		if time.Now().After(end) {
			w.t.Fatal("no batch came whole")
		}
	}
}

// A token of one session opens no way into another, whatever its holder sends.
func TestRelayThirdParty(t *testing.T) {
	w := newWorld(t)
	one, two := w.session(), w.session()
	a, b := one.pair()
	two.id = one.id // the same session, other keys: an operator beside another
	c := two.dial(0)
	var heard atomic.Int64
	for _, end := range []*relay.Conn{a, b} {
		go func() {
			buf := make([]byte, 2000)
			for {
				n, err := end.Read(buf)
				if err != nil {
					return
				}
				if string(buf[:n]) == "intruder" {
					heard.Add(1)
				}
			}
		}()
	}
	for range 100 {
		c.Write([]byte("intruder"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 20 {
		if _, err := a.Check(ctx); err != nil {
			t.Fatalf("the session was disturbed: %v", err)
		}
	}
	if n := heard.Load(); n != 0 {
		t.Errorf("%d packets of a third party came through", n)
	}
	select {
	case <-c.Paired():
		t.Error("the third party was paired")
	default:
	}
	if st := a.Stats(); st.Dials != 1 {
		t.Errorf("evicted: %+v", st)
	}
}

func TestRelayRevoke(t *testing.T) {
	w := newWorld(t)
	s := w.session()
	a, b := s.pair()
	w.srv.Revoke(s.id)
	for _, c := range []*relay.Conn{a, b} {
		if _, err := c.Read(make([]byte, 10)); codeOf(err) != "revoked" {
			t.Errorf("read after a revocation: %v", err)
		}
	}
	if _, err := s.try(0); codeOf(err) != "revoked" {
		t.Errorf("back after a revocation: %v", err)
	}
	if r := w.last(); r.Code != "revoked" {
		t.Errorf("%+v", r)
	}
}

func TestRelayEnds(t *testing.T) {
	w := newWorld(t)
	s := w.session()
	s.end = time.Now().Add(3 * time.Second)
	over := s.end
	a, b := s.pair()
	// A later revision's token, shown on the open leg, puts the end off.
	s.end = over.Add(3 * time.Second)
	a.Renew(w.relays(s.token(0, 2)))
	time.Sleep(time.Until(over))
	w.send(a, b, []byte("longer"))
	for _, c := range []*relay.Conn{a, b} {
		buf := make([]byte, 10)
		for {
			if _, err := c.Read(buf); err != nil {
				if codeOf(err) != "ended" {
					t.Errorf("read after the end: %v", err)
				}
				break
			}
		}
	}
	if time.Now().Before(s.end.Truncate(time.Second)) {
		t.Error("it ended early")
	}
}

func TestRelayReplaces(t *testing.T) {
	w := newWorld(t)
	s := w.session()
	a, b := s.pair()
	again := s.dial(0) // the same machine by another address
	if _, err := a.Read(make([]byte, 10)); codeOf(err) != "superseded" {
		t.Errorf("the older leg reads %v", err)
	}
	w.paired(again)
	w.send(again, b, []byte("new"))
	w.send(b, again, []byte("path"))
	var err error
	for range 6 {
		if _, err = s.try(0); err != nil {
			break
		}
	}
	if codeOf(err) != "cloned" {
		t.Errorf("seven legs within a minute: %v", err)
	}
	if r := w.last(); r.Code != "cloned" || r.Replaced == 0 {
		t.Errorf("%+v", r)
	}
}

func TestRelayDrains(t *testing.T) {
	w := newWorld(t)
	s := w.session()
	a, b := s.pair()
	addr := w.addr
	w.stop()
	w.start(addr) // the next release
	for _, c := range []*relay.Conn{a, b} {
		w.wait("a leg at the new relay", func() bool { st := c.Stats(); return st.Dials == 2 && st.Paired })
	}
	w.send(a, b, []byte("moved"))
	w.send(b, a, []byte("as well"))
}

func TestRelayFull(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.Legs = 2 })
	one, two := w.session(), w.session()
	one.pair()
	if _, err := two.try(0); codeOf(err) != "full" {
		t.Errorf("a third leg: %v", err)
	}
}

// Those who say nothing keep nobody out for long: those beyond what one address gets
// wait until they are cut.
func TestRelaySlowloris(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.PerIP, c.Open = 8, 16 })
	s := w.session()
	a, b := s.pair()
	var open []net.Conn
	for range 12 {
		c, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	w.wait("the rest wait", func() bool { st := w.srv.Stats(); return st.Waiting == 4 && st.Open == 8 })
	w.send(a, b, []byte("unharmed"))
	w.wait("the silent are cut", func() bool { st := w.srv.Stats(); return st.Open == 0 && st.Waiting == 0 })
	for _, c := range open[:8] {
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a silent connection got something")
		}
	}
	w.session().pair()
}

// One who does not read delays nobody else.
func TestRelayStalled(t *testing.T) {
	w := newWorld(t)
	stalled, free := w.session(), w.session()
	a, _ := stalled.pair() // whose other end never reads
	c, d := free.pair()
	stop := make(chan struct{})
	flood := make(chan struct{})
	go func() {
		defer close(flood)
		batch := [][]byte{make([]byte, 1300), make([]byte, 1300), make([]byte, 1300), make([]byte, 1300)}
		for {
			select {
			case <-stop:
				return
			default:
				a.WriteBatch(batch)
				time.Sleep(100 * time.Microsecond)
			}
		}
	}()
	w.wait("the stalled end's queue drops", func() bool { return w.srv.Stats().Dropped > 1<<20 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	defer func() { close(stop); <-flood }()
	for i := range 50 {
		if rtt, err := c.Check(ctx); err != nil {
			t.Fatalf("check %d: %v", i, err)
		} else if i < 3 {
			t.Log(rtt)
		}
	}
	w.send(c, d, []byte("free"))
}

func TestRelayRate(t *testing.T) {
	w := newWorld(t)
	s := w.session()
	s.rate = 8_000_000 // 1 MB/s
	a, b := s.pair()
	var got atomic.Int64
	go func() {
		buf := make([]byte, 2000)
		for {
			n, err := b.Read(buf)
			if err != nil {
				return
			}
			got.Add(int64(n))
		}
	}()
	batch := [][]byte{make([]byte, 1300), make([]byte, 1300)}
	began := time.Now()
	for time.Since(began) < 2*time.Second {
		a.WriteBatch(batch)
		time.Sleep(500 * time.Microsecond)
	}
	took := time.Since(began).Seconds()
	// The burst, what the queues and the kernel hold, and a pause's worth of slack.
	if n := float64(got.Load()); n > took*1e6*1.5+1<<20 || n < 1e5 {
		t.Errorf("%.0f bytes in %.1f s", n, took)
	}
}
