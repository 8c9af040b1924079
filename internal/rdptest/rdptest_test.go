//go:build linux

package rdptest

import (
	"crypto/tls"
	"encoding/hex"
	"image"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/testca"
)

// TestServers asks each server, as a client first does, for TLS or NLA, and sees which
// one it demands.
func TestServers(t *testing.T) {
	const (
		overTLS = 1
		byNLA   = 2
	)
	t.Run("shadow", func(t *testing.T) {
		s := NewScreen(t, nil, 1280, 720)
		s.Terminal(t.TempDir())
		server := Shadow(t, s, freePort(t))
		if got := negotiate(t, server.Port); got != byNLA {
			t.Errorf("it chose %d, not NLA", got)
		}
		if _, err := tls.LoadX509KeyPair(server.Cert, server.Key); err != nil {
			t.Error(err)
		}
	})
	t.Run("xrdp", func(t *testing.T) {
		cert, key := testca.New(t, t.TempDir()).Server("kiosk", []string{"kiosk"})
		if got := negotiate(t, XRDP(t, nil, freePort(t), t.TempDir(), cert, key).Port); got != overTLS {
			t.Errorf("it chose %d, not TLS", got)
		}
	})
}

// negotiate sends an X.224 connection request and returns the protocol of its answer.
func negotiate(t *testing.T, port int) int {
	t.Helper()
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	request, _ := hex.DecodeString("0300002b26e00000000000436f6f6b69653a206d737473686173683d6b696f736b0d0a0100080003000000")
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 19)
	if _, err := io.ReadFull(c, answer); err != nil || answer[11] != 2 {
		t.Fatalf("it answers %x (%v)", answer, err)
	}
	return int(answer[15])
}

// TestScreen sees the pixels of what is shown, and that they change.
func TestScreen(t *testing.T) {
	s := NewScreen(t, nil, 640, 480)
	s.Customer()
	for end := time.Now().Add(patience); s.Frames() < 3; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d pictures in %v", s.Frames(), patience)
		}
	}
	p, err := s.Picture()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Bounds(), image.Rect(0, 0, 640, 480); got != want {
		t.Errorf("the screen is %v, want %v", got, want)
	}
}

// freePort is one below those that the system gives to outgoing connections, and so is
// the next one.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10000 + rand.N(20000)
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func FuzzDump(f *testing.F) {
	dump := make([]byte, 100)
	copy(dump, "\x00\x00\x00\x64\x00\x00\x00\x07")
	f.Add(dump)
	f.Fuzz(func(t *testing.T, dump []byte) {
		if p, err := readDump(dump); err == nil && 4*p.Rect.Dx()*p.Rect.Dy() > len(dump) {
			t.Errorf("%v pixels of %d bytes", p.Rect, len(dump))
		}
	})
}
