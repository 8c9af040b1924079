//go:build linux

package netlab

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// The outside that a NAT is looked at from: two addresses of one host, so that
// what is sent to the NAT arrives in the order in which it was sent.
const (
	outer1, outer2 = "203.0.113.1", "203.0.113.2"
	outerNAT       = "203.0.113.7"
)

// A look is what two hosts behind a NAT and two addresses before it can see of
// it.
type look struct {
	Mapping, Filtering Dependence
	Preserve, Hairpin  bool
}

func (k NAT) look() look { return look{k.Mapping, k.Filtering, k.Preserve, k.Hairpin} }

// A view is a network with a NAT that is looked at.
type view struct {
	t            *testing.T
	nat          *Translator
	inner, other *Host // both behind the NAT
	outer        *Host
}

func newView(t *testing.T, kind NAT) *view {
	t.Helper()
	l := New(t)
	v := &view{t: t, inner: l.Host("inner"), other: l.Host("other"), outer: l.Host("outer")}
	router := l.Router("router")
	wan := l.Link(router, outerNAT+"/24", v.outer, outer1+"/24")
	v.outer.Run("ip", "addr", "add", outer2+"/24", "dev", wan.B.Name)
	for n, h := range []*Host{v.inner, v.other} {
		k := l.Link(h, fmt.Sprintf("192.168.%d.2/24", 7+n), router, fmt.Sprintf("192.168.%d.1/24", 7+n))
		h.Route("default", k.B.Addr)
	}
	v.nat = router.Translate(wan.A, kind)
	l.Start()
	return v
}

// A sock is a raw UDP socket on a host.
type sock struct {
	t *testing.T
	*net.UDPConn
}

func (v *view) sock(h *Host, addr string) *sock { v.t.Helper(); return listen(v.t, h, addr) }

func listen(t *testing.T, h *Host, addr string) *sock {
	t.Helper()
	s := &sock{t: t}
	err := h.Do(func() (err error) {
		s.UDPConn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *sock) port() uint16 { return s.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

func (s *sock) send(to netip.AddrPort, text string) {
	s.t.Helper()
	if _, err := s.WriteToUDPAddrPort([]byte(text), to); err != nil {
		s.t.Fatal(err)
	}
}

// sendInVain sends what is to find the way shut, which is opened after it: not before it
// has come there, for another processor may have it.
func (s *sock) sendInVain(to netip.AddrPort, text string) {
	s.t.Helper()
	s.send(to, text)
	time.Sleep(100 * time.Millisecond)
}

// until returns all that arrives before the given text, which must, and where
// that came from. What was sent before may be just behind it: another processor had it.
func (s *sock) until(text string) (before map[string]bool, from netip.AddrPort) {
	s.t.Helper()
	before = make(map[string]bool)
	buf := make([]byte, 1500)
	s.SetReadDeadline(time.Now().Add(10 * time.Second))
	for came := false; ; {
		n, at, err := s.ReadFromUDPAddrPort(buf)
		switch {
		case err != nil && came:
			return before, from
		case err != nil:
			s.t.Fatalf("waiting for %q: %v", text, err)
		case string(buf[:n]) == text && !came:
			came, from = true, at
			s.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		default:
			before[string(buf[:n])] = true
		}
	}
}

// seen sends from a socket and returns the address that it has outside.
func seen(inner, outer *sock) netip.AddrPort {
	inner.t.Helper()
	inner.send(outer.LocalAddr().(*net.UDPAddr).AddrPort(), "see")
	_, from := outer.until("see")
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// look finds out what the NAT does by what arrives where.
func (v *view) look() look {
	t := v.t
	t.Helper()
	var got look
	a1p1, a1p2 := v.sock(v.outer, outer1+":7001"), v.sock(v.outer, outer1+":7002")
	a2p1, a2p2 := v.sock(v.outer, outer2+":7001"), v.sock(v.outer, outer2+":7002")

	in := v.sock(v.inner, "0.0.0.0:4001")
	from := [4]netip.AddrPort{seen(in, a1p1), seen(in, a1p2), seen(in, a2p1), seen(in, a2p2)}
	switch {
	case from[0] == from[1] && from[0] == from[2] && from[0] == from[3]:
		got.Mapping = EndpointIndependent
	case from[0] == from[1] && from[2] == from[3]:
		got.Mapping = AddressDependent
	default:
		got.Mapping = PortDependent
	}
	got.Preserve = from[0].Port() == in.port()

	in = v.sock(v.inner, "0.0.0.0:4002")
	at := seen(in, a1p1)
	a2p2.send(at, "other address")
	a1p2.send(at, "other port")
	a1p1.send(at, "same")
	heard, _ := in.until("same")
	switch {
	case heard["other address"] && heard["other port"]:
		got.Filtering = EndpointIndependent
	case heard["other port"]:
		got.Filtering = AddressDependent
	default:
		got.Filtering = PortDependent
	}

	// Each sends to the other, so that also the strictest filtering lets them in.
	near, far := v.sock(v.inner, "0.0.0.0:4003"), v.sock(v.other, "0.0.0.0:4004")
	nearAt, farAt := seen(near, a1p1), seen(far, a1p1)
	far.send(nearAt, "unasked")
	near.send(farAt, "hairpin")
	far.send(nearAt, "hairpin")
	a1p1.send(nearAt, "end")
	a1p1.send(farAt, "end")
	heardNear, _ := near.until("end")
	heardFar, _ := far.until("end")
	got.Hairpin = heardNear["hairpin"] && heardFar["hairpin"]
	if want := got.Hairpin && got.Filtering == EndpointIndependent; heardNear["unasked"] != want {
		t.Errorf("a hairpin that nobody asked for passes: %v, want %v", !want, want)
	}
	return got
}

// Each kind is seen as what it is and so as none of the others.
func TestNATIsWhatItSays(t *testing.T) {
	var kinds []NAT
	for m := EndpointIndependent; m <= PortDependent; m++ {
		for f := EndpointIndependent; f <= PortDependent; f++ {
			kinds = append(kinds, NAT{Mapping: m, Filtering: f})
			if m == EndpointIndependent {
				kinds = append(kinds, NAT{Filtering: f, Hairpin: true}, NAT{Filtering: f, Preserve: true}, NAT{Filtering: f, Preserve: true, Hairpin: true})
			}
		}
	}
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			if got := newView(t, kind).look(); got != kind.look() {
				t.Errorf("looks like %+v", got)
			}
		})
	}
}

// A binding that is idle for longer than the NAT keeps it lets nothing in.
func TestNATBindingTimesOut(t *testing.T) {
	t.Parallel()
	type binding struct {
		v       *view
		in, out *sock
		at      netip.AddrPort
	}
	var bindings []binding
	for _, filtering := range []Dependence{EndpointIndependent, PortDependent} {
		for _, timeout := range []time.Duration{time.Second, time.Minute} {
			v := newView(t, NAT{Filtering: filtering, Timeout: timeout})
			b := binding{v: v, in: v.sock(v.inner, "0.0.0.0:4001"), out: v.sock(v.outer, outer1+":7001")}
			b.at = seen(b.in, b.out)
			bindings = append(bindings, b)
		}
	}
	time.Sleep(3 * time.Second) // conntrack counts in seconds
	for _, b := range bindings {
		b.out.sendInVain(b.at, "late")
		seen(b.in, b.out)
		b.out.send(b.at, "end")
		if heard, _ := b.in.until("end"); heard["late"] != (b.v.nat.kind.Timeout > 3*time.Second) {
			t.Errorf("%v: a binding idle for 3 s lets in: %v", b.v.nat.kind, heard["late"])
		}
	}
}

func TestNATForgetAndRebind(t *testing.T) {
	t.Parallel()
	for _, kind := range []NAT{{}, {Filtering: AddressDependent}, {Filtering: PortDependent, Preserve: true}, {Mapping: PortDependent, Filtering: PortDependent}} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			v := newView(t, kind)
			in, out := v.sock(v.inner, "0.0.0.0:4001"), v.sock(v.outer, outer1+":7001")
			at := seen(in, out)
			other := v.sock(v.outer, outer2+":7001")
			seen(in, other)
			out.send(at, "before")
			in.until("before")

			v.nat.Forget()
			out.sendInVain(at, "forgotten")
			again := seen(in, out)
			other.send(again, "permitted before")
			out.send(again, "end")
			heard, _ := in.until("end")
			if heard["forgotten"] {
				t.Error("a packet passed by a mapping that is forgotten")
			}
			if want := kind.Filtering == EndpointIndependent; heard["permitted before"] != want {
				t.Errorf("whom the inner socket sent to before gets in: %v, want %v", !want, want)
			}
			if (again == at) != (kind.Mapping == EndpointIndependent) {
				t.Errorf("%v after Forget, %v before", again, at)
			}

			v.nat.Rebind()
			out.send(again, "rebound")
			moved := seen(in, out)
			out.send(moved, "end")
			if heard, _ := in.until("end"); heard["rebound"] {
				t.Error("a packet passed by a mapping from before Rebind")
			}
			if moved == again || moved.Addr() != again.Addr() {
				t.Errorf("%v after Rebind, %v before", moved, again)
			}
		})
	}
}

// What comes before an inner socket opens the way neither passes nor bends the
// mapping that is made next: two ends that punch at once depend on it.
func TestNATUnaskedPacketLeavesNoTrace(t *testing.T) {
	t.Parallel()
	for _, filtering := range []Dependence{AddressDependent, PortDependent} {
		for _, preserve := range []bool{false, true} {
			v := newView(t, NAT{Filtering: filtering, Preserve: preserve})
			in, asked := v.sock(v.inner, "0.0.0.0:4001"), v.sock(v.outer, outer1+":7001")
			other := v.sock(v.outer, outer2+":7002")
			at := seen(in, asked)
			other.sendInVain(at, "early")
			if moved := seen(in, other); moved != at {
				t.Errorf("%v filtering: the mapping is %v, and %v towards whom sent first", filtering, at, moved)
			}
			other.send(at, "end")
			if heard, _ := in.until("end"); heard["early"] {
				t.Errorf("%v filtering: a packet passed before the inner socket sent", filtering)
			}
		}
	}
}

func TestBlackholeDropsOneDirectionOfOneFlow(t *testing.T) {
	t.Parallel()
	v := newView(t, NAT{Filtering: PortDependent})
	in, out, other := v.sock(v.inner, "0.0.0.0:4001"), v.sock(v.outer, outer1+":7001"), v.sock(v.outer, outer1+":7002")
	at := seen(in, out)
	seen(in, other)
	v.nat.host.Blackhole(UDP(out.LocalAddr().(*net.UDPAddr).AddrPort(), at))
	out.send(at, "lost")
	if got := seen(in, out); got != at { // the other direction
		t.Errorf("the mapping has moved from %v to %v", at, got)
	}
	other.send(at, "end") // another flow
	if heard, _ := in.until("end"); heard["lost"] {
		t.Error("a packet passed a black hole")
	}
	v.nat.host.Clear()
	out.send(at, "found")
	in.until("found")
}

// Packets that go on while a router forgets do not keep a mapping alive.
func TestNATRebindsUnderTraffic(t *testing.T) {
	t.Parallel()
	v := newView(t, NAT{Filtering: PortDependent, Preserve: true})
	in, out := v.sock(v.inner, "0.0.0.0:4001"), v.sock(v.outer, outer1+":7001")
	at := seen(in, out)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond): // no more than a socket's buffer holds
				out.send(at, "traffic")
				in.send(netip.MustParseAddrPort(outer1+":7001"), "traffic")
			}
		}
	}()
	began := time.Now()
	v.nat.Rebind()
	t.Logf("rebound in %v", time.Since(began))
	close(stop)
	<-stopped
	out.send(at, "rebound")
	moved := seen(in, out)
	out.send(moved, "end")
	if heard, _ := in.until("end"); heard["rebound"] || moved == at {
		t.Errorf("%v after Rebind, %v before; what comes there is let in: %v", moved, at, heard["rebound"])
	}
}
