package stun

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/daemon"
)

func TestValidate(t *testing.T) {
	if err := Validate([]string{"203.0.113.7:3478", "[2001:db8::7]:3478"}); err != nil {
		t.Error(err)
	}
	err := Validate([]string{"203.0.113.7:3478", "stun.example.com:3478"})
	if wrong, ok := errors.AsType[*daemon.FieldError](err); !ok || wrong.Field != "stun" {
		t.Errorf("%v", err)
	}
}

// Four sockets, two addresses with two ports each, answer from where they are asked
// to (RFC 5780, section 7.2).
func TestTwoAddresses(t *testing.T) {
	one, other := freePorts(t)
	var addrs []string
	for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
		addrs = append(addrs, fmt.Sprintf("%s:%d", ip, one), fmt.Sprintf("%s:%d", ip, other))
	}
	s, err := Listen(addrs)
	if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EADDRINUSE) {
		t.Skip("this system has no 127.0.0.2, or a port is taken:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for change, want := range map[uint32]string{0: addrs[0], 2: addrs[1], 4: addrs[2], 6: addrs[3]} {
		b := binary.BigEndian.AppendUint32([]byte{0, 1, 0, 8}, 0x2112a442)
		b = append(b, fmt.Sprintf("change is %2d", change)...)
		b = binary.BigEndian.AppendUint32(append(b, 0, 3, 0, 4), change)
		if _, err := c.WriteTo(b, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addrs[0]))); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 1500)
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, from, err := c.ReadFrom(answer)
		if err != nil || n < 20 || from.String() != want || string(answer[8:20]) != string(b[8:20]) {
			t.Errorf("change %d: from %v, want %s, %v", change, from, want, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := Listen(append(addrs, addrs[0])); err == nil {
		t.Error("listened twice")
	}
}

func TestNone(t *testing.T) {
	s, err := Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Serve(ctx); err != nil {
		t.Error(err)
	}
}

// freePorts are two that nobody has now.
func freePorts(t *testing.T) (a, b int) {
	t.Helper()
	var ports [2]int
	for i := range ports {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ports[i] = c.LocalAddr().(*net.UDPAddr).Port
	}
	return ports[0], ports[1]
}
