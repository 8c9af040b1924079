package mqtt

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/mosquittotest"
	"github.com/eclipse/paho.golang/paho"
)

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// allocated counts all that was ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// A packet that announces 256 MiB ends the connection before a byte of it is
// made room for.
func TestOversizedPacket(t *testing.T) {
	var n notices
	before := allocated()
	b := startRaw(t, func(c net.Conn) {
		if greet(c) != nil {
			return
		}
		io.WriteString(c, "\x30\xff\xff\xff\x7f")
		io.Copy(io.Discard, c)
	})
	c, _ := listen(t, "k1", b.url, quick(func(c *Config) { c.Observe = n.observe }))
	c.await(t, "three connections", func() bool { return c.downs >= 3 })
	if n.count("broker_protocol") == 0 {
		t.Error("no notice")
	}
	if grew := allocated() - before; grew > 64<<20 {
		t.Errorf("allocated %d MiB", grew>>20)
	}
}

// The largest packet that is allowed arrives, is too long for a command, and
// does no harm.
func TestLargePacket(t *testing.T) {
	body := append([]byte("\x00\x0aiot/k1/cmd\x00"), make([]byte, 1<<20)...)
	b := startRaw(t, func(c net.Conn) {
		if greet(c) != nil {
			return
		}
		head := []byte{0x30}
		for n := len(body); n > 0; n >>= 7 {
			d := byte(n & 0x7f)
			if n > 0x7f {
				d |= 0x80
			}
			head = append(head, d)
		}
		c.Write(append(head, body...))
		io.WriteString(c, "\x30\x0e\x00\x0aiot/k1/cmd\x00x")
		io.Copy(io.Discard, c)
	})
	c, _ := listen(t, "k1", b.url, quick())
	c.awaitMessage(t, "x")
}

func TestMalformed(t *testing.T) {
	greeted := map[string]string{
		"garbage":                "\xff\x00\x12garbage",
		"suback of nothing":      "\x90\x00",
		"publish without topic":  "\x30\x01\x00",
		"publish, topic beyond":  "\x30\x04\xff\xffab",
		"property beyond":        "\x30\x06\x00\x01a\xff\xff\xff",
		"unknown property":       "\x30\x06\x00\x01a\x02\x7f\x00",
		"puback of nothing":      "\x40\x00",
		"puback nobody waits on": "\x40\x02\x12\x34",
		"suback again":           "\x90\x04\x00\x01\x00\x01\x90\x04\x00\x01\x00\x01",
		"second connack":         "\x20\x03\x00\x00\x00",
		"pubrec":                 "\x50\x02\x00\x01",
		"publish at QoS 2":       "\x34\x0f\x00\x0aiot/k1/cmd\x00\x01\x00",
		"auth":                   "\xf0\x00",
		"truncated":              "\x30\x20\x00\x0aiot",
		"disconnect":             "\xe0\x00",
		"disconnect, long":       "\xe0\x05\x8b\x03\x1f\x00\x00",
	}
	for name, text := range greeted {
		t.Run(name, func(t *testing.T) {
			b := startRaw(t, func(c net.Conn) {
				if greet(c) == nil {
					io.WriteString(c, text)
				}
			})
			c, _ := listen(t, "k1", b.url, quick())
			c.await(t, "second connection", func() bool { return c.ups >= 2 })
		})
	}
	instead := map[string]string{
		"nothing":                          "",
		"http":                             "HTTP/1.1 400 Bad Request\r\n\r\n",
		"connack of nothing":               "\x20\x00",
		"connack, authentication method":   "\x20\x07\x00\x00\x04\x15\x00\x01x",
		"connack, receive maximum 0":       "\x20\x06\x00\x00\x03\x21\x00\x00",
		"auth instead of connack":          "\xf0\x02\x18\x00",
		"connack refuses without any word": "\x20\x03\x00\x80\x00",
		"suback instead":                   "\x90\x04\x00\x01\x00\x01",
	}
	for name, text := range instead {
		t.Run(name, func(t *testing.T) {
			b := startRaw(t, func(c net.Conn) {
				c.Read(make([]byte, 4096))
				io.WriteString(c, text)
			})
			c, _ := listen(t, "k1", b.url, quick())
			c.await(t, "second attempt", func() bool { return c.downs >= 2 })
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.ups > 0 {
				t.Error("the line is said to be up without a SUBACK")
			}
		})
	}
	t.Run("suback refuses", func(t *testing.T) {
		for _, answer := range []string{"\x00\x80", "\x00\x97", "\x00", "\x00\x01\x01"} {
			b := startRaw(t, func(c net.Conn) {
				c.Read(make([]byte, 4096))
				io.WriteString(c, "\x20\x03\x00\x00\x00")
				sub := make([]byte, 4096)
				for { // the first PINGREQ may come before
					n, err := c.Read(sub)
					if err != nil {
						return
					}
					if at := bytes.IndexByte(sub[:n], 0x82); at >= 0 && n >= at+4 {
						c.Write(append([]byte{0x90, byte(2 + len(answer)), sub[at+2], sub[at+3]}, answer...))
					}
				}
			})
			c, _ := listen(t, "k1", b.url, quick())
			c.await(t, "second attempt", func() bool { return c.downs >= 2 })
			c.mu.Lock()
			if c.ups > 0 {
				t.Errorf("SUBACK %q counts as a subscription", answer)
			}
			c.mu.Unlock()
		}
	})
}

// A broker that sends noise for as long as it is let costs a connection each time.
func TestNoise(t *testing.T) {
	before := heap()
	b := startRaw(t, func(c net.Conn) {
		if rand.N(2) == 0 && greet(c) != nil {
			return
		}
		noise := make([]byte, 64<<10)
		for i := range noise {
			noise[i] = byte(rand.Uint32())
			if t := noise[i] >> 4; t == 2 || t == 14 { // CONNACK, DISCONNECT
				noise[i] = 0 // or it refuses us by chance, and we come back in minutes
			}
		}
		for range 16 {
			if _, err := c.Write(noise); err != nil {
				return
			}
		}
	})
	c, _ := listen(t, "k1", b.url, quick())
	c.await(t, "six connections", func() bool { return c.downs >= 6 })
	if now := heap(); now > before+16<<20 {
		t.Errorf("heap grew by %d KiB", (now-before)>>10)
	}
}

// A flood is taken at the pace of the sink and leaves nothing behind.
func TestFlood(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	kiosk, l := listen(t, "k1", b.URL(), quick())
	kiosk.awaitUp(t)
	fleet, s := read(t, b.URL(), quick())
	send(t, s, "nobody", "{}")
	attacker := client(t, b, "attacker", nil)
	payload := make([]byte, 8<<10)
	begin := time.Now()
	for i := range 1000 {
		if _, err := attacker.Publish(t.Context(), &paho.Publish{Topic: "iot/k1/cmd", QoS: byte(i % 2), Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	send(t, s, "k1", "after")
	kiosk.awaitMessage(t, "after")
	l.Publish([]byte("alive"), false)
	fleet.awaitMessage(t, "alive")
	kiosk.mu.Lock()
	defer kiosk.mu.Unlock()
	if kiosk.ups != 1 {
		t.Errorf("%d connections", kiosk.ups)
	}
	t.Logf("1,000 messages in %v", time.Since(begin).Round(time.Millisecond))
}

// A broker that stops reading does not hold up the end.
func TestBrokerStopsReading(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	b := startRaw(t, func(c net.Conn) {
		if greet(c) == nil {
			<-release
		}
	})
	l, err := newListener("k1", b.url, quick())
	if err != nil {
		t.Fatal(err)
	}
	c := newCatcher()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Listen(ctx, c)
	}()
	c.awaitUp(t)
	for i := range 32 { // of 1 MiB: more than the buffers of both sides
		l.line.wg.Go(func() { l.line.publish(ctx, "x", make([]byte, 1<<20), i%2 == 0) })
	}
	time.Sleep(300 * time.Millisecond)
	cancel()
	select {
	case <-done:
	case <-time.After(writeTimeout - 5*time.Second):
		t.Error("Listen does not return")
	}
}
