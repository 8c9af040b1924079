package reach

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/packet"
)

var (
	own      = netip.MustParseAddr("10.166.0.5")
	own6     = netip.MustParseAddr("fd66::5")
	operator = netip.MustParseAddr("10.166.255.9")
	second   = netip.MustParseAddr("10.166.255.10")
	six      = netip.MustParseAddr("fd66::9")
	node     = netip.MustParseAddr("10.166.255.1")
	stranger = netip.MustParseAddr("10.166.0.6")
)

var testEcho = Echo{ID: 4711, Token: [TokenSize]byte{1, 2, 3, 4, 5, 6, 7, 8}}

func deviceRules() Rules {
	return Rules{
		Own:    []netip.Addr{own, own6},
		Proofs: []netip.Addr{node},
		Peers: []Peer{
			{operator, []Port{{packet.TCP, 22}, {packet.UDP, 3389}}},
			{second, []Port{{packet.TCP, 445}}},
			{six, []Port{{packet.TCP, 22}}},
		},
	}
}

func operatorRules() Rules {
	return Rules{
		Own:      []netip.Addr{operator},
		Proofs:   []netip.Addr{own},
		Peers:    []Peer{{Addr: own}},
		Outbound: true,
	}
}

// build makes an IP packet with the given payload.
func build(src, dst netip.Addr, proto uint8, payload []byte) []byte {
	if src.Is4() {
		b := make([]byte, packet.IPv4Header, packet.IPv4Header+len(payload))
		b[0], b[8], b[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(payload)))
		copy(b[12:], src.AsSlice())
		copy(b[16:], dst.AsSlice())
		return append(b, payload...)
	}
	b := make([]byte, packet.IPv6Header, packet.IPv6Header+len(payload))
	b[0], b[6], b[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
	return append(b, payload...)
}

func tcp(src netip.Addr, sp uint16, dst netip.Addr, dp uint16, flags uint8) []byte {
	h := make([]byte, packet.TCPHeader)
	binary.BigEndian.PutUint16(h, sp)
	binary.BigEndian.PutUint16(h[2:], dp)
	h[12], h[13] = 5<<4, flags
	return build(src, dst, packet.TCP, h)
}

func udp(src netip.Addr, sp uint16, dst netip.Addr, dp uint16) []byte {
	h := make([]byte, packet.UDPHeader)
	binary.BigEndian.PutUint16(h, sp)
	binary.BigEndian.PutUint16(h[2:], dp)
	binary.BigEndian.PutUint16(h[4:], packet.UDPHeader)
	return build(src, dst, packet.UDP, h)
}

func echo(src, dst netip.Addr, id uint16, data []byte) []byte {
	return packet.AppendEcho(nil, src, dst, id, 1, data, 0)
}

func reply(src, dst netip.Addr, id uint16, data []byte) []byte {
	b := echo(dst, src, id, data)
	var p packet.Info
	if !packet.Parse(b, &p) || !packet.Reply(b, &p) {
		panic("no echo")
	}
	return b
}

// fragment makes a fragment of b; offset is in units of 8 bytes.
func fragment(b []byte, offset uint16, more bool) []byte {
	if more {
		offset |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], offset)
	return b
}

type step struct {
	name string
	in   bool
	b    []byte
	want Verdict
}

func run(t *testing.T, f *Filter, steps []step) {
	t.Helper()
	for i, s := range steps {
		now := time.Duration(i+1) * time.Millisecond
		got := Drop
		if s.in {
			got = f.In(s.b, now)
		} else {
			got = f.Out(s.b, now)
		}
		if got != s.want {
			t.Errorf("%s: got %d, want %d", s.name, got, s.want)
		}
	}
}

const syn, ack, synack = packet.SYN, packet.ACK, packet.SYN | packet.ACK

func TestDevice(t *testing.T) {
	icmpError := build(operator, own, packet.ICMP, []byte{3, 4, 0, 0, 0, 0, 0, 0})
	run(t, NewFilter(deviceRules(), testEcho), []step{
		{"reply before any request", false, tcp(own, 22, operator, 5000, synack), Drop},
		{"granted port", true, tcp(operator, 5000, own, 22, syn), Pass},
		{"its reply", false, tcp(own, 22, operator, 5000, synack), Pass},
		{"its data", true, tcp(operator, 5000, own, 22, ack), Pass},
		{"reply to another port", false, tcp(own, 22, operator, 5001, ack), Drop},
		{"reply from another port", false, tcp(own, 23, operator, 5000, ack), Drop},
		{"reply to another operator", false, tcp(own, 22, second, 5000, ack), Drop},
		{"a connection out on the same pair", false, tcp(own, 22, operator, 5000, syn), Drop},
		{"port not granted", true, tcp(operator, 5000, own, 23, syn), Drop},
		{"port of the other operator", true, tcp(operator, 5000, own, 445, syn), Drop},
		{"the other operator's own", true, tcp(second, 5000, own, 445, syn), Pass},
		{"port of the other protocol", true, udp(operator, 5000, own, 22), Drop},
		{"granted UDP", true, udp(operator, 5000, own, 3389), Pass},
		{"its reply", false, udp(own, 3389, operator, 5000), Pass},
		{"UDP out by itself", false, udp(own, 3389, operator, 6000), Drop},
		{"connection out", false, tcp(own, 40000, operator, 22, syn), Drop},
		{"stranger in", true, tcp(stranger, 5000, own, 22, syn), Drop},
		{"proof address in", true, tcp(node, 5000, own, 22, syn), Drop},
		{"to another address", true, tcp(operator, 5000, stranger, 22, syn), Drop},
		{"to loopback", true, tcp(operator, 5000, netip.MustParseAddr("127.0.0.1"), 22, syn), Drop},
		{"from own address", true, tcp(own, 5000, own, 22, syn), Drop},
		{"from another source out", false, tcp(stranger, 22, operator, 5000, ack), Drop},
		{"IPv6", true, tcp(six, 5000, own6, 22, syn), Pass},
		{"its reply", false, tcp(own6, 22, six, 5000, synack), Pass},
		{"echo from an operator", true, echo(operator, own, 1, nil), Answer},
		{"echo from the node", true, echo(node, own, 1, nil), Answer},
		{"echo over IPv6", true, echo(six, own6, 1, nil), Answer},
		{"echo from a stranger", true, echo(stranger, own, 1, nil), Drop},
		{"echo to a stranger", true, echo(operator, stranger, 1, nil), Drop},
		{"echo out", false, echo(own, operator, 1, nil), Drop},
		{"own proof", true, reply(node, own, testEcho.ID, testEcho.Token[:]), Proved},
		{"proof with another token", true, reply(node, own, testEcho.ID, make([]byte, TokenSize)), Drop},
		{"proof with a short token", true, reply(node, own, testEcho.ID, testEcho.Token[:4]), Drop},
		{"proof with another id", true, reply(node, own, 1, testEcho.Token[:]), Drop},
		{"proof from an operator", true, reply(operator, own, testEcho.ID, testEcho.Token[:]), Drop},
		{"ICMP error", true, icmpError, Drop},
		{"fragment", true, fragment(tcp(operator, 5000, own, 22, ack), 0, true), Drop},
		{"last fragment", true, fragment(tcp(operator, 5000, own, 22, ack), 100, false), Drop},
		{"fragment out", false, fragment(tcp(own, 22, operator, 5000, ack), 0, true), Drop},
		{"another protocol", true, build(operator, own, 47, make([]byte, 8)), Drop},
		{"ICMPv6 in IPv4", true, build(operator, own, packet.ICMPv6, []byte{128, 0, 0, 0, 0, 0, 0, 0}), Drop},
		{"empty", true, nil, Drop},
		{"cut", true, tcp(operator, 5000, own, 22, ack)[:30], Drop},
	})
}

func TestOperator(t *testing.T) {
	run(t, NewFilter(operatorRules(), testEcho), []step{
		{"connection in", true, tcp(own, 5000, operator, 22, syn), Drop},
		{"data in without a flow", true, tcp(own, 22, operator, 5000, ack), Drop},
		{"connection out", false, tcp(operator, 5000, own, 22, syn), Pass},
		{"its reply", true, tcp(own, 22, operator, 5000, synack), Pass},
		{"a connection in on the same pair", true, tcp(own, 22, operator, 5000, syn), Drop},
		{"UDP in", true, udp(own, 53, operator, 5000), Drop},
		{"UDP out", false, udp(operator, 5000, own, 53), Pass},
		{"its reply", true, udp(own, 53, operator, 5000), Pass},
		{"out to a stranger", false, tcp(operator, 5000, stranger, 22, syn), Drop},
		{"out from a stranger", false, tcp(stranger, 5000, own, 22, syn), Drop},
		{"a user's ping", false, echo(operator, own, 7, nil), Pass},
		{"its reply", true, reply(own, operator, 7, nil), Pass},
		{"a reply nobody asked for", true, reply(own, operator, 8, nil), Drop},
		{"own proof", true, reply(own, operator, testEcho.ID, testEcho.Token[:]), Proved},
		{"echo from the device", true, echo(own, operator, 1, nil), Answer},
		{"echo reply out", false, reply(operator, own, 1, nil), Drop},
	})
}

func TestStats(t *testing.T) {
	f := NewFilter(deviceRules(), testEcho)
	f.In(echo(operator, own, 1, nil), 1)
	if s := f.Stats(); s.LastUse != 0 || s.LastIn != 1 || s.Answered != 1 {
		t.Errorf("an echo counts as use: %+v", s)
	}
	f.In(tcp(operator, 5000, own, 23, syn), 2)
	if s := f.Stats(); s.LastUse != 0 || s.DroppedIn != 1 {
		t.Errorf("a dropped packet counts as use: %+v", s)
	}
	f.In(tcp(operator, 5000, own, 22, syn), 3)
	f.Out(tcp(own, 22, operator, 5000, synack), 4)
	f.Out(tcp(own, 40000, operator, 22, syn), 5)
	if s := f.Stats(); s.LastUse != 4 || s.LastOut != 4 || s.Rx != 40 || s.Tx != 40 || s.DroppedOut != 1 || s.Flows != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestProofsDelivered(t *testing.T) {
	f := NewFilter(deviceRules(), testEcho)
	for range 100 { // nobody takes them: In must not block
		f.In(reply(node, own, testEcho.ID, testEcho.Token[:]), 9)
	}
	got := <-f.Proofs()
	if want := (Proof{From: node, Seq: 1, Size: 36, At: 9}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSetRules(t *testing.T) {
	f := NewFilter(deviceRules(), testEcho)
	f.In(tcp(operator, 5000, own, 22, syn), 1)
	f.In(udp(operator, 5000, own, 3389), 1)
	f.In(tcp(second, 5000, own, 445, syn), 1)
	narrow := deviceRules()
	narrow.Peers = []Peer{{operator, []Port{{packet.TCP, 22}}}}
	f.SetRules(narrow)
	run(t, f, []step{
		{"kept port", false, tcp(own, 22, operator, 5000, ack), Pass},
		{"reply from a port that went", false, udp(own, 3389, operator, 5000), Drop},
		{"reply to an operator who went", false, tcp(own, 445, second, 5000, ack), Drop},
		{"port that went", true, udp(operator, 5000, own, 3389), Drop},
		{"operator who went", true, tcp(second, 5000, own, 445, ack), Drop},
	})
	narrow.Peers[0].Ports[0].Number = 23 // the filter has its own copy
	if v := f.In(tcp(operator, 5001, own, 23, syn), 2); v != Drop {
		t.Error("rules are shared with the caller")
	}
}

func TestExpiry(t *testing.T) {
	open := func(f *Filter) { f.In(tcp(operator, 5000, own, 22, syn), time.Second) }
	tests := []struct {
		name  string
		setup func(f *Filter)
		idle  time.Duration
		reply []byte
	}{
		{"half open", open, tcpOpening, tcp(own, 22, operator, 5000, synack)},
		{"established", func(f *Filter) {
			open(f)
			f.Out(tcp(own, 22, operator, 5000, synack), time.Second)
		}, tcpIdle, tcp(own, 22, operator, 5000, ack)},
		{"one FIN", func(f *Filter) {
			open(f)
			f.Out(tcp(own, 22, operator, 5000, packet.FIN|ack), time.Second)
		}, tcpIdle, tcp(own, 22, operator, 5000, ack)},
		{"both FIN", func(f *Filter) {
			open(f)
			f.Out(tcp(own, 22, operator, 5000, packet.FIN|ack), time.Second)
			f.In(tcp(operator, 5000, own, 22, packet.FIN|ack), time.Second)
		}, tcpClosing, tcp(own, 22, operator, 5000, ack)},
		{"RST", func(f *Filter) {
			open(f)
			f.Out(tcp(own, 22, operator, 5000, packet.RST), time.Second)
		}, tcpClosing, tcp(own, 22, operator, 5000, ack)},
		{"opened again after RST", func(f *Filter) {
			open(f)
			f.Out(tcp(own, 22, operator, 5000, packet.RST), time.Second)
			open(f)
			f.Out(tcp(own, 22, operator, 5000, synack), time.Second)
		}, tcpIdle, tcp(own, 22, operator, 5000, ack)},
		{"UDP", func(f *Filter) {
			f.In(udp(operator, 5000, own, 3389), time.Second)
		}, udpIdle, udp(own, 3389, operator, 5000)},
	}
	for _, tt := range tests {
		f := NewFilter(deviceRules(), testEcho)
		tt.setup(f)
		if v := f.Out(tt.reply, time.Second+tt.idle+1); v != Drop {
			t.Errorf("%s: still known after %v", tt.name, tt.idle)
		}
		f = NewFilter(deviceRules(), testEcho)
		tt.setup(f)
		if v := f.Out(tt.reply, time.Second+tt.idle); v != Pass {
			t.Errorf("%s: forgotten within %v", tt.name, tt.idle)
		}
	}
}

func TestBound(t *testing.T) {
	f := NewFilter(deviceRules(), testEcho)
	passed := 0
	for port := range 3 * maxFlows {
		if f.In(udp(operator, uint16(port), own, 3389), time.Second) == Pass {
			passed++
		}
	}
	if passed != maxFlows || f.Stats().Flows != maxFlows || len(f.flows.index) != maxFlows {
		t.Errorf("%d flows passed, %d known", passed, f.Stats().Flows)
	}
	if f.Out(udp(own, 3389, operator, 0), 2*time.Second) != Pass {
		t.Error("a full table forgets flows in use")
	}
	late := time.Second + udpIdle + time.Second
	if f.In(tcp(operator, 1, own, 22, syn), late) != Pass {
		t.Error("expired flows keep new ones out")
	}
	if n := f.Stats().Flows; n != 2 {
		t.Errorf("%d flows after the sweep, want the one refreshed and the new one", n)
	}
}

func TestNoAllocation(t *testing.T) {
	f := NewFilter(deviceRules(), testEcho)
	in, out := tcp(operator, 5000, own, 22, ack), tcp(own, 22, operator, 5000, ack)
	n := testing.AllocsPerRun(1000, func() {
		if f.In(in, time.Second) != Pass || f.Out(out, time.Second) != Pass {
			t.Fatal("dropped")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

func BenchmarkIn(b *testing.B) {
	f := NewFilter(deviceRules(), testEcho)
	in := tcp(operator, 5000, own, 22, ack)
	b.ReportAllocs()
	for b.Loop() {
		f.In(in, time.Second)
	}
}
