package tunnel

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
)

func noise(size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{}), size)
}

func sum(t *testing.T, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		t.Error(err)
	}
	return fmt.Sprintf("%d bytes, %x", n, h.Sum(nil))
}

// TestTransfer carries 64 MiB each way through a forward, one way after the
// other over a half-closed connection.
func TestTransfer(t *testing.T) {
	noLeaks(t)
	size := int64(64 << 20)
	if raceEnabled { // the detector makes it thirty times slower
		size = 4 << 20
	}
	got := make(chan string, 1)
	device, operator := pair(t, keys.TCP(22))
	device.Services = map[keys.Port]string{keys.TCP(22): serveTCP(t, func(c *net.TCPConn) {
		got <- sum(t, c)
		_, _ = io.Copy(c, noise(size))
	})}
	d, o := up(t, device), up(t, operator)
	c, err := o.Dial(testContext(t), "tcp", "10.166.0.5:22")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := sum(t, noise(size))
	if _, err := io.Copy(c, noise(size)); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != want {
		t.Errorf("service got %s, want %s", s, want)
	}
	if s := sum(t, c); s != want {
		t.Errorf("came back %s, want %s", s, want)
	}
	if s := d.Status(); s.Rx < uint64(size) || s.Tx < uint64(size) || s.State != Connected {
		t.Errorf("status %+v", s)
	}
}

func TestUDPForward(t *testing.T) {
	noLeaks(t)
	service := socket(t)
	defer service.Close()
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := service.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = service.WriteToUDPAddrPort(append([]byte("re: "), buf[:n]...), from)
		}
	}()
	device, operator := pair(t, keys.UDP(3389))
	device.Services = map[keys.Port]string{keys.UDP(3389): service.LocalAddr().String()}
	up(t, device)
	o := up(t, operator)
	c, err := o.Dial(testContext(t), "udp", ":3389")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "re: hello" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
}

func TestListen(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t, keys.TCP(8080))
	d, o := up(t, device), up(t, operator)
	l, err := d.Listen(testContext(t), "tcp", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, "in process")
			_ = c.Close()
		}
	}()
	c, err := o.Dial(testContext(t), "tcp", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "in process" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestReach dials what was not granted: nothing answers, and it is counted.
func TestReach(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t, keys.TCP(22))
	address := serveTCP(t, func(c *net.TCPConn) {})
	device.Services = map[keys.Port]string{keys.TCP(22): address, keys.TCP(23): address}
	d, o := up(t, device), up(t, operator)
	ready(t, o, d)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if c, err := o.Dial(ctx, "tcp", ":23"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a port that was not granted: %v, %v", c, err)
	}
	until(t, "it is counted as dropped", func() bool { return d.Status().Dropped > 0 }, d)
	if _, err := d.Dial(testContext(t), "tcp", operatorAddr.String()+":1"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a device dials: %v", err)
	}
	for _, bad := range []struct{ network, address string }{
		{"tcp", "example.com:22"}, {"tcp", ":ssh"}, {"tcp", "22"}, {"tcp", ":70000"}, {"icmp", ":1"}, {"tcp6", ":22"},
	} {
		if _, err := o.Dial(testContext(t), bad.network, bad.address); err == nil {
			t.Errorf("dial %v worked", bad)
		}
	}
}

func TestLadder(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t)
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	s := o.Status()
	if s.State != Connected || s.Mode != Driverless || s.RTT <= 0 || s.Proved.IsZero() || s.Handshake.IsZero() ||
		s.Path != Direct || s.Remote != operator.Paths[0].Addr.String() || !slices.Equal(s.Addresses, operator.Addresses) {
		t.Errorf("status %+v", s)
	}
	_ = o.Close()
	_ = d.Close()
	var kinds []EventKind
	var last time.Time
	for e := range o.Events(testContext(t)) {
		if e.Kind != EventMTU && e.Kind != EventPath {
			kinds = append(kinds, e.Kind)
		}
		if e.At.Before(last.Add(-time.Second)) {
			t.Errorf("%s at %v, after %v", e.Kind, e.At, last)
		}
		last = e.At
	}
	want := []EventKind{EventSocket, EventHandshake, EventProved, EventReady, EventClosing, EventClosed}
	if !slices.Equal(kinds, want) {
		t.Errorf("got %v, want %v", kinds, want)
	}
}

func TestOwnSocket(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t, keys.TCP(22))
	s := socket(t)
	device.Socket, device.Listen = s, 0
	operator.Paths[0].Addr = s.LocalAddr().(*net.UDPAddr).AddrPort()
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	_ = d.Close()
	if _, err := s.Write(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the socket is open after Close: %v", err)
	}
}

func TestPortInUse(t *testing.T) {
	noLeaks(t)
	s := socket(t)
	defer s.Close()
	device, _ := pair(t)
	taken, err := net.ListenUDP("udp", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	device.Listen = taken.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	_, err = Up(testContext(t), device)
	var driver *DriverError
	if !errors.As(err, &driver) || driver.Op != "socket" {
		t.Errorf("got %v", err)
	}
}

func TestBadConfigs(t *testing.T) {
	noLeaks(t)
	for name, spoil := range map[string]func(*Config){
		"no key":        func(c *Config) { c.Key = keys.PrivateKey{} },
		"no address":    func(c *Config) { c.Addresses = nil },
		"no far end":    func(c *Config) { c.Far.Key = keys.PublicKey{} },
		"no proof":      func(c *Config) { c.Far.Proof = zero },
		"other family":  func(c *Config) { c.Far.Proof = six },
		"role":          func(c *Config) { c.Role = "x" },
		"mode":          func(c *Config) { c.Mode = "x" },
		"MTU":           func(c *Config) { c.MTU = 100 },
		"path":          func(c *Config) { c.Paths = []Path{{}} },
		"mapped":        func(c *Config) { c.Addresses = append(c.Addresses, mapped) },
		"socket closes": func(c *Config) { c.Key = keys.PrivateKey{}; c.Socket = socket(t) },
	} {
		device, _ := pair(t)
		spoil(device)
		if tn, err := Up(testContext(t), device); err == nil || tn != nil {
			t.Errorf("%s: got %v, %v", name, tn, err)
		}
		if s, ok := device.Socket.(*net.UDPConn); ok {
			if err := s.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: the socket is open still: %v", name, err)
			}
		}
	}
	if _, err := Up(context.Background(), nil); err == nil {
		t.Error("no config works")
	}
	if os.Getuid() == 0 {
		return
	}
	device, _ := pair(t)
	device.Mode = Adapter
	var driver *DriverError
	if _, err := Up(testContext(t), device); !errors.As(err, &driver) || driver.Op != "adapter" {
		t.Errorf("an adapter without rights: %v", err)
	}
}
