package mqtt

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// pipe is a connection over loopback: unlike net.Pipe it has buffers.
func pipe(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{client, server} {
		c.SetDeadline(time.Now().Add(20 * time.Second))
		t.Cleanup(func() { c.Close() })
	}
	return client, server
}

type writeCounter struct {
	net.Conn
	n int
}

func (c *writeCounter) Write(p []byte) (int, error) {
	c.n++
	return c.Conn.Write(p)
}

// A rawBroker gives each connection to a function of the test's.
type rawBroker struct {
	url      string
	accepted atomic.Int32
}

func startRaw(t *testing.T, serve func(net.Conn)) *rawBroker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &rawBroker{url: "mqtt://" + ln.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.accepted.Add(1)
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return b
}

// greet answers CONNECT and the first SUBSCRIBE as a broker does.
func greet(c net.Conn) error {
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return err
		}
		switch s := p.Content.(type) {
		case *packets.Connect:
			if _, err := io.WriteString(c, "\x20\x03\x00\x00\x00"); err != nil {
				return err
			}
		case *packets.Subscribe:
			_, err := c.Write([]byte{0x90, 4, byte(s.PacketID >> 8), byte(s.PacketID), 0, 1})
			return err
		}
	}
}
