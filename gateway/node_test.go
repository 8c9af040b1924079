package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/kernelvm"
	"github.com/boothwire/boothwire/keys"
)

func TestMain(m *testing.M) { kernelvm.Main(m) }

func TestSession(t *testing.T) {
	a := newAuthority(t, "test")
	n, r := newNode(t, a, nil)
	p := newPair(n, 1, keys.TCP(22))
	admit(t, n, a, &p.grant)
	wait(t, r, KindInstalled, p.grant.Session)

	device := up(t, n.FarEnd(), p.device, p.devAddr())
	operator := up(t, n.FarEnd(), p.operator, p.opAddr())
	if !device.ping(n.FarEnd().Proof, patience) {
		t.Fatal("the node does not answer the device's proof")
	}
	wait(t, r, KindHandshake, p.grant.Session)
	wait(t, r, KindProved, p.grant.Session)
	if !operator.ping(n.FarEnd().Proof, patience) || !operator.ping(device.address, patience) {
		t.Fatal("the operator's proofs stay unanswered")
	}
	ln, err := device.net.ListenTCPAddrPort(netip.AddrPortFrom(device.address, 22))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	defer ln.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := operator.net.DialContextTCPAddrPort(ctx, netip.AddrPortFrom(device.address, 22))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !echoes(c, "hello", patience) {
		t.Fatal("no echo over TCP")
	}
	got := n.Sessions()
	if len(got) != 1 || got[0].Rx == 0 || got[0].Tx == 0 || got[0].Proved.IsZero() || got[0].Operators != 1 {
		t.Errorf("sessions: %+v", got)
	}

	// Ended, the live connection is cut and the counters are told.
	if err := n.End(context.Background(), p.grant.Session); err != nil {
		t.Fatal(err)
	}
	e := wait(t, r, KindClosed, p.grant.Session)
	if e.Rx < got[0].Rx || e.Tx < got[0].Tx || e.Code != "" {
		t.Errorf("closed with %+v", e)
	}
	if echoes(c, "still there?", 500*time.Millisecond) {
		t.Error("a connection outlived its session")
	}
	if err := n.Admit(context.Background(), a.sign(t, &p.grant)); codeOf(err) != keys.ReasonClosed {
		t.Errorf("a closed session's grant: %v", err)
	}
	if s := n.Stats(); s.Sessions != 0 || s.Peers != 0 || s.Rx != e.Rx || s.Closed != 1 {
		t.Errorf("stats: %+v", s)
	}
}

// echoes sends text and reports whether it comes back within a time.
func echoes(c net.Conn, text string, within time.Duration) bool {
	c.SetDeadline(time.Now().Add(within))
	if _, err := c.Write([]byte(text)); err != nil {
		return false
	}
	b := make([]byte, len(text))
	_, err := io.ReadFull(c, b)
	return err == nil && string(b) == text
}

// A plane with a port of its own for operators is reached at two.
func TestOperatorEndpoints(t *testing.T) {
	p, opener := newMemoryPlane()
	p.entry = 51821
	for name, tc := range map[string]struct {
		endpoints, operators []netip.AddrPort
		want                 string
	}{
		"none configured": {[]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")}, nil, "[192.0.2.1:51821]"},
		"a port of NAT's": {[]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:443")}, nil, "[192.0.2.1:51821]"},
		"configured": {[]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")},
			[]netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:0"), netip.MustParseAddrPort("192.0.2.2:444")}, "[192.0.2.2:51821 192.0.2.2:444]"},
	} {
		n, err := open(t.Context(), "wg-1", newAuthority(t, "test").roots, &Config{Endpoints: tc.endpoints, OperatorEndpoints: tc.operators}, opener, systemClock())
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(n.FarEnd().OperatorEndpoints); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
		n.Close()
	}
}

// A node that cannot go on leaves what a former process left for the next try.
func TestOpenLeaves(t *testing.T) {
	p, opener := newMemoryPlane()
	p.stuck = errors.New("the kernel is busy")
	if _, err := open(t.Context(), "wg-1", newAuthority(t, "test").roots, nil, opener, systemClock()); !errors.Is(err, p.stuck) {
		t.Fatalf("opened with %v", err)
	}
	if p.gone != "left " {
		t.Errorf("the plane was %q", p.gone)
	}
	p.stuck, p.gone = nil, ""
	n, err := open(t.Context(), "wg-1", newAuthority(t, "test").roots, nil, opener, systemClock())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil || p.gone != "closed " {
		t.Errorf("the plane was %q, %v", p.gone, err)
	}
}
