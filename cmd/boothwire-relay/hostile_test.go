//go:build linux

package main

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is so many connections that never prove a key.
const crowd = 10_000

// Ten thousand connections that prove nothing, from one address and from as many, cost
// the relay little memory and those who have a leg nothing.
func TestHalfOpen(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel() // with the other one, which mostly waits
	for name, from := range map[string]func(i int) net.IP{
		"one address":    func(int) net.IP { return net.IPv4(127, 9, 9, 9) },
		"many addresses": func(i int) net.IP { return net.IPv4(127, 1, byte(i>>7), 1+byte(i&127)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, "")
			f.start()
			f.open(1, time.Now().Add(time.Hour))
			f.wait("a session", func() bool { return f.sessions() == 1 })
			before := f.rss()
			game := play(f)
			var most atomic.Int64
			watched := make(chan struct{})
			over := make(chan struct{})
			go func() {
				defer close(watched)
				for {
					most.Store(max(most.Load(), int64(f.rss())))
					select {
					case <-over:
						return
					case <-time.After(50 * time.Millisecond):
					}
				}
			}()
			began := time.Now()
			all := make([]net.Conn, crowd)
			next := make(chan int)
			var work sync.WaitGroup
			for range 64 {
				work.Go(func() {
					for i := range next {
						d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from(i)}, Timeout: patience}
						c, err := d.Dial("tcp", f.addr)
						if err != nil {
							t.Errorf("connection %d: %v", i, err)
							continue
						}
						all[i] = c
						c.Write([]byte{22, 3, 1, 2}[:i%5]) // as far as into a hello
					}
				})
			}
			for i := range all {
				next <- i
			}
			close(next)
			work.Wait()
			came := time.Since(began)
			for i, c := range all {
				if c == nil {
					continue
				}
				c.SetReadDeadline(time.Now().Add(patience))
				if n, err := c.Read(make([]byte, 1)); n > 0 || isTimeout(err) {
					t.Errorf("connection %d: %d bytes, %v", i, n, err)
				}
				c.Close()
			}
			gone := time.Since(began)
			rounds, worst := game.stop()
			close(over)
			<-watched
			grown := float64(most.Load()-int64(before)) / (1 << 20)
			t.Logf("%d came within %v and were cut within %v; beside them %d round trips, the longest %v; the relay grew by %.1f MiB",
				crowd, came.Round(10*time.Millisecond), gone.Round(10*time.Millisecond), rounds, worst, grown)
			if grown > 128 {
				t.Errorf("the relay grew by %.1f MiB", grown)
			}
			for i, c := range f.ends[0] {
				if st := c.Stats(); st.Dials != 1 || !st.Paired {
					t.Errorf("leg %d: %+v", i, st)
				}
			}
			f.open(1, time.Now().Add(time.Hour))
			f.wait("another session", func() bool { return f.sessions() == 2 })
		})
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// Whoever goes on a byte at a time is cut, whatever he is at.
func TestSlowloris(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for seconds")
	}
	t.Parallel()
	f := newFleet(t, "")
	f.start()
	f.open(1, time.Now().Add(time.Hour))
	f.wait("a session", func() bool { return f.sessions() == 1 })
	game := play(f)
	stranger := f.session(time.Now().Add(time.Hour))
	head := "GET /relay HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: boothwire-relay/1\r\n"
	secure := func(raw net.Conn) (net.Conn, error) {
		c := tls.Client(raw, &tls.Config{RootCAs: f.ca.Pool(), ServerName: "127.0.0.1"})
		return c, c.Handshake()
	}
	var work sync.WaitGroup
	for name, reach := range map[string]func(raw net.Conn) (net.Conn, error){ // as far as is quick
		"TLS": func(raw net.Conn) (net.Conn, error) {
			_, err := raw.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3})
			return raw, err
		},
		"header": secure,
		"token": func(raw net.Conn) (net.Conn, error) {
			c, err := secure(raw)
			if err == nil {
				_, err = io.WriteString(c, head+"Boothwire-Token: "+stranger.lists[0][0].Token[:100])
			}
			return c, err
		},
		"proof": func(raw net.Conn) (net.Conn, error) {
			c, err := secure(raw)
			if err == nil {
				_, err = io.WriteString(c, head+"Boothwire-Token: "+stranger.lists[0][0].Token+"\r\n\r\n")
			}
			if err == nil { // the answer's first bytes; the rest does not matter
				_, err = io.ReadFull(c, make([]byte, 12))
			}
			if err == nil {
				_, err = c.Write([]byte{0x80, 41, 1})
			}
			return c, err
		},
	} {
		for i := range 8 {
			work.Go(func() {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 8, 8, byte(len(name)))}}
				var c net.Conn
				var began time.Time
				for end := time.Now().Add(patience); c == nil; {
					raw, err := d.Dial("tcp", f.addr)
					if err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
					defer raw.Close()
					began = time.Now()
					if there, err := reach(raw); err == nil {
						c = there
					} else if time.Now().After(end) { // else the machine was too slow for it
						t.Errorf("%s: it never came so far: %v", name, err)
						return
					}
				}
				var err error
				for err == nil && time.Since(began) < patience {
					time.Sleep(200 * time.Millisecond)
					_, err = c.Write([]byte{'a'})
				}
				if err == nil {
					t.Errorf("%s: it may go on for ever", name)
				} else if i == 0 {
					t.Logf("%s: cut within %v (%v)", name, time.Since(began).Round(10*time.Millisecond), err)
				}
			})
		}
	}
	work.Wait()
	rounds, worst := game.stop()
	t.Logf("beside them %d round trips, the longest %v", rounds, worst)
	f.wait("nobody is at the door", func() bool { return f.metric("unproved") == 0 })
}

// A game is packets that go to and fro between the ends of the first session: each is
// awaited, so that none may be lost.
type game struct {
	f      *fleet
	end    chan struct{}
	work   sync.WaitGroup
	rounds int
	worst  time.Duration
}

func play(f *fleet) *game {
	g := &game{f: f, end: make(chan struct{})}
	a, b := f.ends[0][0], f.ends[0][1]
	go func() { // ends with the Conn
		buf := make([]byte, 100)
		for {
			n, err := b.Read(buf)
			if err != nil {
				return
			}
			b.Write(buf[:n])
		}
	}()
	back := make(chan uint64, 16)
	go func() {
		buf := make([]byte, 100)
		for {
			n, err := a.Read(buf)
			if err != nil || n != 8 {
				close(back)
				return
			}
			back <- binary.BigEndian.Uint64(buf)
		}
	}()
	g.work.Go(func() {
		for {
			select {
			case <-g.end:
				return
			case <-time.After(5 * time.Millisecond):
			}
			g.rounds++
			began := time.Now()
			a.Write(binary.BigEndian.AppendUint64(nil, uint64(g.rounds)))
			select {
			case n, ok := <-back:
				if !ok || n != uint64(g.rounds) {
					f.t.Errorf("round %d: %d came back, %v", g.rounds, n, ok)
					return
				}
			case <-time.After(patience):
				f.t.Errorf("packet %d is lost", g.rounds)
				return
			}
			g.worst = max(g.worst, time.Since(began))
		}
	})
	return g
}

// stop ends the game and says how many rounds it had and how long the longest took.
func (g *game) stop() (int, string) {
	close(g.end)
	g.work.Wait()
	return g.rounds, fmt.Sprint(g.worst.Round(100 * time.Microsecond))
}
