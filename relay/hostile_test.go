package relay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/internal/queue"
	"github.com/boothwire/boothwire/relay/internal/wire"
)

// newBare is a Conn with one link over conn, and nothing that dials.
func newBare(t testing.TB, conn net.Conn) (*Conn, *link) {
	t.Helper()
	c := &Conn{
		cfg: (*Config)(nil).withDefaults(), queues: queue.NewPool(), in: make(chan *block, 4), wake: make(chan struct{}, 1),
		met: make(chan struct{}), waiters: make(map[[wire.EchoSize]byte]chan struct{}), keeper: keeper{relays: 1, rnd: below},
	}
	c.pool.New = func() any { return &block{b: make([]byte, blockSize)} }
	c.ctx, c.cancel = context.WithCancel(context.Background())
	l := newLink(c, conn, keys.Relay{URL: "https://r/"}, 0, true, nil)
	c.use(l)
	t.Cleanup(func() { c.Close() })
	return c, l
}

// Whatever a relay sends, an end neither fails nor hands on what was no packet.
func FuzzFrames(f *testing.F) {
	f.Add(wire.AppendPacket(wire.AppendPacket(nil, []byte("one")), []byte("two")))
	f.Add(wire.AppendControl(wire.AppendControl(nil, wire.Peer, 1), wire.Bye, []byte("ended")...))
	f.Add(wire.AppendControl(wire.AppendPacket(nil, make([]byte, wire.MaxPacket)), wire.Echo, make([]byte, 8)...))
	f.Add(wire.AppendControl(wire.AppendControl(nil, wire.Drain, 0, 0, 0), wire.Drain, 255, 255, 255, 255))
	f.Add(wire.AppendControl(wire.AppendControl(nil, wire.Ready), wire.Bye, []byte("Ended\n")...))
	f.Add([]byte{0xff, 0xff, 1, 2, 3})
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		near, far := net.Pipe()
		c, _ := newBare(t, near)
		go io.Copy(io.Discard, far) // its answers
		go func() {
			far.Write(stream)
			far.Close()
			time.Sleep(5 * time.Millisecond)
			c.Close()
		}()
		var want [][]byte
		for rest := stream; ; {
			typ, body, n, err := wire.Next(rest)
			if n == 0 || err != nil || typ == wire.Bye {
				break
			}
			if typ == wire.Packet {
				want = append(want, body)
			}
			rest = rest[n:]
		}
		buf := make([]byte, wire.MaxPacket)
		for i := 0; ; i++ {
			n, err := c.Read(buf)
			if err != nil {
				break
			}
			if i >= len(want) || !bytes.Equal(buf[:n], want[i]) {
				t.Fatalf("packet %d of %d: %d bytes", i, len(want), n)
			}
		}
	})
}

func TestByes(t *testing.T) {
	for code, over := range map[string]string{
		"ended": "ended", "revoked": "revoked", "cloned": "cloned", "superseded": "superseded",
		"slow": "", "alone": "", "draining": "", "malformed": "", "NO": "", "": "",
	} {
		near, far := net.Pipe()
		c, l := newBare(t, near)
		go io.Copy(io.Discard, far)
		far.Write(wire.AppendControl(nil, wire.Bye, []byte(code)...))
		<-l.over
		var got string
		select {
		case <-c.Done():
			if e, ok := errors.AsType[*Error](c.reason()); ok {
				got = e.Reason
			}
		default:
		}
		if got != over {
			t.Errorf("after BYE %q: %q, want %q", code, got, over)
		}
		c.mu.Lock()
		if len(c.keeper.torn) != 0 {
			t.Errorf("BYE %q counts as torn", code)
		}
		c.mu.Unlock()
	}
}

// A leg with the other end on it carries on until its successor has it too, or until
// it ends.
func TestStandby(t *testing.T) {
	for name, move := range map[string]func(old, next net.Conn){
		"the other end is at the next": func(_, next net.Conn) { next.Write(wire.AppendControl(nil, wire.Peer, 1)) },
		"the other end left this":      func(old, _ net.Conn) { old.Write(wire.AppendControl(nil, wire.Peer, 0)) },
		"this ends":                    func(old, _ net.Conn) { old.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, old := net.Pipe()
				c, first := newBare(t, near)
				near2, next := net.Pipe()
				second := newLink(c, near2, keys.Relay{URL: "https://r2/"}, 0, false, nil)
				c.use(second)
				got := make(chan string, 10)
				for name, far := range map[string]net.Conn{"old": old, "next": next} {
					go func() {
						b := make([]byte, 100)
						for {
							if _, err := far.Read(b); err != nil {
								return
							}
							got <- name
						}
					}()
				}
				c.Write([]byte("packet"))
				if to := <-got; to != "old" {
					t.Errorf("before: over the %s leg", to)
				}
				if c.link.Load() != first {
					t.Error("it moved early")
				}
				move(old, next)
				synctest.Wait()
				c.Write([]byte("packet"))
				if to := <-got; to != "next" {
					t.Errorf("after: over the %s leg", to)
				}
				time.Sleep(2 * time.Second)
				select {
				case <-first.over:
				default:
					t.Error("the old leg stays")
				}
				c.Close()
				old.Close()
				next.Close()
				synctest.Wait()
			})
		})
	}
}

// A leg that another machine took the place of is over; one whose own successor did
// is not.
func TestSupersededByItself(t *testing.T) {
	near, far := net.Pipe()
	c, l := newBare(t, near)
	go io.Copy(io.Discard, far)
	c.mu.Lock()
	c.calling = true
	c.mu.Unlock()
	far.Write(wire.AppendControl(nil, wire.Bye, []byte("superseded")...))
	<-l.over
	if c.ctx.Err() != nil {
		t.Errorf("over: %v", c.reason())
	}
}

// A silent leg is asked after 25 s, and is dead when it has not answered twice.
func TestKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c, l := newBare(t, near)
		c.work.Go(c.run)
		var mu sync.Mutex
		answer := true
		var pings []time.Duration
		began := time.Now()
		go func() {
			b := make([]byte, 1000)
			for {
				n, err := far.Read(b)
				if err != nil {
					return
				}
				for rest := b[:n]; len(rest) > 0; {
					typ, body, size, _ := wire.Next(rest)
					if typ == wire.Ping {
						mu.Lock()
						say := answer
						pings = append(pings, time.Since(began).Round(time.Second))
						mu.Unlock()
						if say {
							far.Write(wire.AppendControl(nil, wire.Pong, body...))
						}
					}
					rest = rest[size:]
				}
			}
		}()
		time.Sleep(5*time.Minute + time.Second/2)
		mu.Lock()
		if n := len(pings); n < 9 || n > 12 || pings[0] < silence {
			t.Errorf("pings at %v", pings)
		}
		select {
		case <-l.over:
			t.Fatal("a leg that answers is cut")
		default:
		}
		answer = false
		asked := len(pings)
		mu.Unlock()
		died := time.Now()
		<-l.over
		mu.Lock()
		defer mu.Unlock()
		if d := time.Since(died); d > dead+2*silence/5 || len(pings)-asked < 2 {
			t.Errorf("cut after %v and %d pings", d, len(pings)-asked)
		}
		c.Close()
		far.Close()
		synctest.Wait()
	})
}

// Writes and checks do not wait for a relay that takes nothing.
func TestWritesNeverBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe() // nobody reads
		c, _ := newBare(t, near)
		began := time.Now()
		batch := [][]byte{make([]byte, 1300), make([]byte, 1300), make([]byte, 100)}
		for range 1000 {
			if n, err := c.WriteBatch(batch); n != len(batch) || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("waited %v", d)
		}
		if st := c.Stats(); st.Dropped < 1<<20 {
			t.Errorf("%+v", st)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Check(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a check: %v", err)
		}
		far.Close()
		synctest.Wait()
		if _, err := c.Check(t.Context()); !errors.Is(err, ErrAlone) {
			t.Errorf("a check without a leg: %v", err)
		}
		if n, err := c.WriteBatch(batch); n != len(batch) || err != nil {
			t.Errorf("a write without a leg: %d, %v", n, err)
		}
		c.Close()
	})
}

// A check fails with its leg, not at its deadline.
func TestCheckOfALostLeg(t *testing.T) {
	near, far := net.Pipe()
	c, _ := newBare(t, near)
	failed := make(chan error, 1)
	go func() { _, err := c.Check(context.Background()); failed <- err }()
	far.Read(make([]byte, 100)) // the ECHO
	far.Close()
	if err := <-failed; !errors.Is(err, ErrAlone) {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiters) != 0 {
		t.Error("its echo is waited for")
	}
}

// sink is a connection that takes everything and says what it is told.
type sink struct {
	net.Conn // nil
	say      chan []byte
	rest     []byte
	wrote    chan int
}

func (s *sink) Write(b []byte) (int, error) { s.wrote <- len(b); return len(b), nil }
func (s *sink) Close() error                { return nil }
func (s *sink) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		var ok bool
		if s.rest, ok = <-s.say; !ok {
			return 0, io.EOF
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Neither way costs an allocation, for many packets or for one.
func TestAllocatesNothing(t *testing.T) {
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for _, n := range []int{1, 16} {
		s := &sink{say: make(chan []byte), wrote: make(chan int)}
		c, l := newBare(t, s)
		batch, bufs, sizes := make([][]byte, n), make([][]byte, 64), make([]int, 64)
		var frames []byte
		var dropped uint64
		for i := range batch {
			batch[i] = make([]byte, 1300)
			frames = wire.AppendPacket(frames, batch[i])
		}
		for i := range bufs {
			bufs[i] = make([]byte, 2000)
		}
		per := testing.AllocsPerRun(2000, func() {
			c.WriteBatch(batch)
			for wrote := false; !wrote; {
				select {
				case <-s.wrote:
					wrote = true
				case <-look.C:
					if now := c.Stats().Dropped; now != dropped { // they became too old, on a busy machine
						dropped = now
						c.WriteBatch(batch)
					}
				}
			}
			s.say <- frames
			for got := 0; got < n; {
				m, err := c.ReadBatch(bufs, sizes)
				if err != nil {
					t.Fatal(err)
				}
				got += m
			}
		})
		if per > 0 && !raceEnabled {
			t.Errorf("%v allocations for %d packets each way", per, n)
		}
		close(s.say)
		<-l.over
	}
}

func FuzzRefusal(f *testing.F) {
	f.Add("HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 36\r\n\r\n{\"code\":\"expired\",\"detail\":\"so late\"}")
	f.Add("HTTP/1.1 101 Switching Protocols\r\nUpgrade: boothwire-relay/1\r\nBoothwire-Nonce: " + base64.RawURLEncoding.EncodeToString(make([]byte, 32)) + "\r\n\r\n")
	f.Add("HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n")
	f.Add("HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n{\"code\":\"")
	f.Fuzz(func(t *testing.T, answer string) {
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
		if err != nil {
			return
		}
		if nonce, err := nonceOf(resp.Header); err == nil && len(nonce) != wire.NonceSize {
			t.Errorf("a nonce of %d bytes", len(nonce))
		}
		if e := refusal(resp); e != nil && (!wire.ValidCode([]byte(e.Reason)) || resp.StatusCode < 400) {
			t.Errorf("%d refuses with %q", resp.StatusCode, e.Reason)
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add("e30.eyJsZWciOjF9.AAAA")
	f.Add("a.eyJsZWciOjB9.c\r\nHost: evil")
	f.Add("..")
	f.Add("a.eyJsZWciOjd9.b")
	f.Fuzz(func(t *testing.T, text string) {
		leg, err := token(text)
		if err == nil && (leg != 0 && leg != 1 || strings.ContainsAny(text, "\r\n: \x00")) {
			t.Errorf("leg %d of %q", leg, text)
		}
	})
}
