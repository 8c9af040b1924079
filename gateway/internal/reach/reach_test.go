package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/packet"
)

func TestReach(t *testing.T) {
	tcp := func(src, dst string, dport uint16) build {
		return build{src: src, dst: dst, proto: packet.TCP, sport: 40000, dport: dport, flags: packet.SYN}
	}
	udp := func(src, dst string, dport uint16) build {
		return build{src: src, dst: dst, proto: packet.UDP, sport: 40000, dport: dport}
	}
	echo := func(src, dst string) build {
		return build{src: src, dst: dst, proto: packet.ICMP, icmp: packet.EchoRequest, sport: 7}
	}
	with := func(b build, change func(b *build)) build { change(&b); return b }
	for _, c := range []struct {
		who  string
		p    build
		want Reason
	}{
		{"operator to a granted port", tcp(op1, dev1, 22), Pass},
		{"operator to the second address", tcp(op1, dev1b, 3389), Pass},
		{"operator to a granted UDP port", udp(op1, dev1, 3389), Pass},
		{"the other operator to his port", tcp(op1b, dev1, 445), Pass},
		{"operator of the other session", tcp(op2, dev2, 22), Pass},
		{"operator to the other's port", tcp(op1, dev1, 445), PortNotGranted},
		{"the other operator to the first's", tcp(op1b, dev1, 22), PortNotGranted},
		{"granted for TCP only", udp(op1, dev1, 22), PortNotGranted},
		{"port 0", tcp(op1, dev1, 0), PortNotGranted},
		{"operator to another's device", tcp(op1, dev2, 22), Isolated},
		{"operator to another operator", tcp(op1, op1b, 22), Isolated},
		{"operator to an operator elsewhere", tcp(op1, op2, 22), Isolated},
		{"operator to himself", tcp(op1, op1, 22), Isolated},
		{"device to device", tcp(dev1, dev2, 22), Isolated},
		{"device to its own second address", tcp(dev1, dev1b, 22), Isolated},
		{"device to another session's operator", tcp(dev1, op2, 22), Isolated},
		{"device opens to its operator", tcp(dev1, op1, 22), NoFlow},
		{"device sends UDP first", udp(dev1, op1, 3389), NoFlow},
		{"device echoes first", echo(dev1, op1), Protocol},
		{"device replies unasked", build{src: dev1, dst: op1, proto: packet.ICMP, icmp: packet.EchoReply, sport: 7}, NoFlow},
		{"operator's proof", echo(op1, dev1), Pass},
		{"operator's proof elsewhere", echo(op1, dev2), Isolated},
		{"operator sends a reply", build{src: op1, dst: dev1, proto: packet.ICMP, icmp: packet.EchoReply}, Protocol},
		{"operator sends a redirect", build{src: op1, dst: dev1, proto: packet.ICMP, icmp: 5}, Protocol},
		{"device's proof", echo(dev1, proofAddr), Answer},
		{"operator's proof of the node", echo(op1, proofAddr), Answer},
		{"TCP to the node", tcp(op1, proofAddr, 22), ProofOnly},
		{"UDP to the node", udp(dev1, proofAddr, 53), ProofOnly},
		{"a stranger's proof", echo("10.166.9.9", proofAddr), UnknownSource},
		{"a stranger", tcp("10.166.9.9", dev1, 22), UnknownSource},
		{"to the world", tcp(op1, "8.8.8.8", 22), UnknownDestination},
		{"device to the world", tcp(dev1, "8.8.8.8", 443), UnknownDestination},
		{"broadcast", udp(op1, "255.255.255.255", 3389), UnknownDestination},
		{"loopback", tcp(op1, "127.0.0.1", 22), UnknownDestination},
		{"first fragment", with(tcp(op1, dev1, 22), func(b *build) { b.fragment = 0x2000 }), Fragment},
		{"later fragment", with(tcp(op1, dev1, 22), func(b *build) { b.fragment = 3 }), Fragment},
		{"a fragment of a proof", with(echo(op1, proofAddr), func(b *build) { b.fragment = 0x2000 }), Fragment},
		{"options", with(tcp(op1, dev1, 22), func(b *build) { b.options = true }), Options},
		{"GRE", build{src: op1, dst: dev1, proto: 47}, Protocol},
		{"IP in IP", build{src: op1, dst: dev1, proto: 4}, Protocol},
		{"ICMPv6 in IPv4", build{src: op1, dst: dev1, proto: packet.ICMPv6}, Protocol},
		{"hop limit 1", with(tcp(op1, dev1, 22), func(b *build) { b.ttl = 1 }), HopLimit},
	} {
		table, tally := newTable(t, nil)
		if got := filter(table, c.p.bytes(), epoch); got != c.want {
			t.Errorf("%s: got %v, want %v", c.who, got, c.want)
		}
		if tally.Count(c.want) != 1 {
			t.Errorf("%s: not counted as %v", c.who, c.want)
		}
	}
	table, tally := newTable(t, nil)
	for _, b := range [][]byte{nil, {0x45}, make([]byte, 20), build{src: op1, dst: dev1, proto: packet.TCP}.bytes()[:39]} {
		if got := filter(table, b, epoch); got != Malformed {
			t.Errorf("%x: got %v", b, got)
		}
	}
	if want := map[string]uint64{"malformed": 4}; fmt.Sprint(tally.Drops()) != fmt.Sprint(want) {
		t.Errorf("drops %v, want %v", tally.Drops(), want)
	}
}

// step is one packet of a conversation.
type step struct {
	after time.Duration
	out   bool // from the operator
	flags uint8
	want  Reason
}

func TestFlows(t *testing.T) {
	const syn, synack, ack, fin, rst = packet.SYN, packet.SYN | packet.ACK, packet.ACK, packet.FIN | packet.ACK, packet.RST
	open := []step{{0, true, syn, Pass}, {0, false, synack, Pass}, {0, true, ack, Pass}}
	for _, c := range []struct {
		name  string
		proto uint8
		steps []step
	}{
		{"open", packet.TCP, open},
		{"idle for hours", packet.TCP, append(slices.Clone(open), step{50 * time.Minute, false, ack, Pass})},
		{"device's bare SYN inside a flow", packet.TCP, append(slices.Clone(open), step{0, false, syn, NoFlow})},
		{"simultaneous open", packet.TCP, []step{{0, true, syn, Pass}, {0, false, syn, NoFlow}}},
		{"never answered", packet.TCP, []step{{0, true, syn, Pass}, {3 * time.Minute, false, synack, NoFlow}}},
		{"closed by both", packet.TCP, append(slices.Clone(open), step{0, true, fin, Pass}, step{0, false, fin, Pass}, step{0, true, ack, Pass}, step{20 * time.Second, false, ack, Pass}, step{31 * time.Second, false, ack, NoFlow})},
		{"half closed", packet.TCP, append(slices.Clone(open), step{0, true, fin, Pass}, step{30 * time.Minute, false, ack, Pass})},
		{"reset by operator", packet.TCP, append(slices.Clone(open), step{0, true, rst, Pass}, step{0, false, ack, NoFlow})},
		{"reset by device", packet.TCP, append(slices.Clone(open), step{0, false, rst | ack, Pass}, step{0, false, ack, NoFlow})},
		{"reset begins nothing", packet.TCP, []step{{0, true, rst, Pass}, {0, false, ack, NoFlow}}},
		{"picked up in the middle", packet.TCP, []step{{0, true, ack, Pass}, {0, false, ack, Pass}}},
		{"port used again", packet.TCP, append(slices.Clone(open), step{0, true, fin, Pass}, step{0, false, fin, Pass}, step{0, true, syn, Pass}, step{time.Minute, false, synack, Pass})},
		{"UDP", packet.UDP, []step{{0, false, 0, NoFlow}, {0, true, 0, Pass}, {0, false, 0, Pass}, {2 * time.Minute, false, 0, Pass}, {4 * time.Minute, false, 0, NoFlow}, {0, true, 0, Pass}}},
		{"echo", packet.ICMP, []step{{0, true, 0, Pass}, {0, false, 0, Pass}, {31 * time.Second, false, 0, NoFlow}}},
	} {
		table, _ := newTable(t, nil)
		now := epoch
		for i, s := range c.steps {
			now = now.Add(s.after)
			b := build{src: op1, dst: dev1, proto: c.proto, sport: 40000, dport: 3389, flags: s.flags, icmp: packet.EchoRequest}
			if !s.out {
				b.src, b.dst, b.sport, b.dport, b.icmp = dev1, op1, 3389, 40000, packet.EchoReply
			}
			if c.proto == packet.ICMP {
				b.sport, b.dport = 7, uint16(i)
			}
			if got := filter(table, b.bytes(), now); got != s.want {
				t.Errorf("%s, step %d: got %v, want %v", c.name, i, got, s.want)
			}
		}
	}
}

// converse sends one packet of an open conversation each way.
func converse(table *Table, op, dev string, sport, dport uint16, now time.Time) (out, in Reason) {
	out = filter(table, build{src: op, dst: dev, proto: packet.TCP, sport: sport, dport: dport, flags: packet.ACK}.bytes(), now)
	in = filter(table, build{src: dev, dst: op, proto: packet.TCP, sport: dport, dport: sport, flags: packet.ACK}.bytes(), now)
	return out, in
}

func device(table *Table, op, dev string, sport, dport uint16) Reason {
	return filter(table, build{src: dev, dst: op, proto: packet.TCP, sport: dport, dport: sport, flags: packet.ACK}.bytes(), epoch)
}

// A device goes on in connections that began at another node, and opens none.
func TestResumed(t *testing.T) {
	table, _ := newTable(t, nil)
	table.Remove("one")
	s := sessionOne()
	s.Resumed = true
	if err := table.Set(s); err != nil {
		t.Fatal(err)
	}
	says := func(op string, proto uint8, flags uint8, sport uint16) Reason {
		return filter(table, build{src: dev1, dst: op, proto: proto, flags: flags, sport: sport, dport: 40000}.bytes(), epoch)
	}
	for _, c := range []struct {
		name  string
		op    string
		proto uint8
		flags uint8
		sport uint16
		want  Reason
	}{
		{"a segment of a granted port", op1, packet.TCP, packet.ACK, 22, Pass},
		{"of a port not granted", op1, packet.TCP, packet.ACK, 23, NoFlow},
		{"one that opens", op1, packet.TCP, packet.SYN, 3389, NoFlow},
		{"one that answers an open", op1, packet.TCP, packet.SYN | packet.ACK, 3389, NoFlow},
		{"a reset", op1, packet.TCP, packet.RST | packet.ACK, 3389, NoFlow},
		{"an end", op1, packet.TCP, packet.FIN | packet.ACK, 3389, NoFlow},
		{"a datagram", op1, packet.UDP, 0, 3389, NoFlow},
	} {
		if got := says(c.op, c.proto, c.flags, c.sport); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	// An operator who comes later began nothing elsewhere.
	late := sessionOne()
	late.Resumed = true
	late.Operators[0].Key = key(9)
	if err := table.Set(late); err != nil {
		t.Fatal(err)
	}
	if got := says(op1, packet.TCP, packet.ACK, 22); got != NoFlow {
		t.Errorf("to an operator who came later: %v", got)
	}
}

func TestSetCutsLiveFlows(t *testing.T) {
	table, _ := newTable(t, nil)
	for _, c := range []struct {
		op    string
		dport uint16
	}{{op1, 22}, {op1, 3389}, {op1b, 445}} {
		if out, in := converse(table, c.op, dev1, 40000, c.dport, epoch); out != Pass || in != Pass {
			t.Fatalf("%v: %v, %v", c, out, in)
		}
	}
	s := sessionOne()
	s.Operators[0].Ports = []Port{{packet.TCP, 3389}}
	s.Operators = s.Operators[:1]
	if err := table.Set(s); err != nil {
		t.Fatal(err)
	}
	// The device's side of a cut flow is cut as well; what stays granted lives on.
	if got := device(table, op1, dev1, 40000, 22); got != NoFlow {
		t.Errorf("a port taken back: %v", got)
	}
	if got := device(table, op1, dev1, 40000, 3389); got != Pass {
		t.Errorf("a port that stays: %v", got)
	}
	if got := device(table, op1b, dev1, 40000, 445); got != UnknownDestination {
		t.Errorf("an operator taken out: %v", got)
	}
	if out, _ := converse(table, op1, dev1, 40000, 22, epoch); out != PortNotGranted {
		t.Errorf("operator to a port taken back: %v", out)
	}
	// Another key at the same address is another operator: no flow is his.
	s.Operators[0].Key = key(9)
	if err := table.Set(s); err != nil {
		t.Fatal(err)
	}
	if got := device(table, op1, dev1, 40000, 3389); got != NoFlow {
		t.Errorf("a new operator inherits a flow: %v", got)
	}
	before := table.Counters("one")
	if before.Rx == 0 || before.Tx == 0 {
		t.Errorf("counters %+v", before)
	}
	if got := table.Remove("one"); got != before {
		t.Errorf("last counters %+v, want %+v", got, before)
	}
	if out, _ := converse(table, op1, dev1, 40000, 3389, epoch); out != UnknownSource {
		t.Errorf("after the session: %v", out)
	}
	if sessions, members := table.Len(); sessions != 1 || members != 2 {
		t.Errorf("%d sessions, %d members are left", sessions, members)
	}
	if table.Remove("one") != (Counters{}) {
		t.Error("removed twice")
	}
}

func TestEndByThePacketPath(t *testing.T) {
	table, _ := newTable(t, nil)
	end := epoch.Add(time.Hour)
	if out, in := converse(table, op1, dev1, 1, 22, end.Add(-1)); out != Pass || in != Pass {
		t.Errorf("just before the end: %v, %v", out, in)
	}
	if out, in := converse(table, op1, dev1, 1, 22, end); out != Expired || in != Expired {
		t.Errorf("at the end: %v, %v", out, in)
	}
	if got := filter(table, build{src: dev1, dst: proofAddr, proto: packet.ICMP, icmp: packet.EchoRequest}.bytes(), end); got != Expired {
		t.Errorf("a proof at the end: %v", got)
	}
	if out, _ := converse(table, op2, dev2, 1, 22, end); out != Pass {
		t.Errorf("the other session: %v", out)
	}
}

func TestFlowsAreBounded(t *testing.T) {
	table, _ := newTable(t, nil)
	if out, in := converse(table, op1b, dev1, 1, 445, epoch); out != Pass || in != Pass {
		t.Fatal(out, in)
	}
	for i := range uint16(3 * maxFlows) {
		now := epoch.Add(time.Duration(i) * time.Millisecond)
		if out, in := converse(table, op1, dev1, 1000+i, 22, now); out != Pass || in != Pass {
			t.Fatal(i, out, in)
		}
		converse(table, op1, dev1, 1000, 22, now) // in constant use
	}
	o := table.sessions["one"].operators[0]
	if len(o.flows.slots) != maxFlows || len(o.flows.index) != maxFlows {
		t.Errorf("%d slots, %d flows", len(o.flows.slots), len(o.flows.index))
	}
	if got := device(table, op1, dev1, 1001, 22); got != NoFlow {
		t.Errorf("the flow unused for the longest: %v", got)
	}
	if got := device(table, op1, dev1, 1000, 22); got != Pass {
		t.Errorf("the flow in use: %v", got)
	}
	if got := device(table, op1b, dev1, 1, 445); got != Pass {
		t.Errorf("the other operator's flow: %v", got)
	}
}

func TestProved(t *testing.T) {
	var calls []string
	table, _ := newTable(t, func(s string) { calls = append(calls, s) })
	expect := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(calls, want) {
			t.Errorf("%s: proved %v, want %v", what, calls, want)
		}
	}
	converseOut := build{src: op1, dst: dev1, proto: packet.TCP, dport: 22}.bytes()
	filter(table, converseOut, epoch)
	expect("operator only")
	fromDevice := build{src: dev1, dst: "8.8.8.8", proto: packet.TCP}.bytes()
	filter(table, fromDevice, epoch)
	filter(table, fromDevice, epoch)
	expect("device", "one")
	table.SetProved("one", false)
	filter(table, fromDevice, epoch)
	expect("again", "one", "one")
	table.SetProved("two", true)
	filter(table, build{src: dev2, dst: proofAddr, proto: packet.ICMP, icmp: 8}.bytes(), epoch)
	expect("suppressed", "one", "one")
	table.SetProved("three", true)
	if err := table.Set(sessionOne()); err != nil {
		t.Fatal(err)
	}
	filter(table, fromDevice, epoch)
	expect("a later rev", "one", "one")
}

func TestCheck(t *testing.T) {
	for name, change := range map[string]func(s *Session){
		"no address":         func(s *Session) { s.Device.Addresses = nil },
		"five addresses":     func(s *Session) { s.Device.Addresses = make([]netip.Addr, 5) },
		"an invalid address": func(s *Session) { s.Device.Addresses[0] = netip.Addr{} },
		"a zone":             func(s *Session) { s.Device.Addresses[0] = netip.MustParseAddr("fe80::1%eth0") },
		"4 in 6":             func(s *Session) { s.Device.Addresses[0] = netip.MustParseAddr("::ffff:10.166.1.1") },
		"the node's own":     func(s *Session) { s.Operators[0].Address = addr(proofAddr) },
		"one twice":          func(s *Session) { s.Operators[0].Address = s.Device.Addresses[1] },
		"another's device":   func(s *Session) { s.Device.Addresses[0] = addr(dev2) },
		"another's operator": func(s *Session) { s.Operators[0].Address = addr(op2) },
	} {
		table, _ := newTable(t, nil)
		s := sessionOne()
		change(s)
		if table.Check(s) == nil || table.Set(s) == nil {
			t.Errorf("%s: taken", name)
		}
		if out, in := converse(table, op1, dev1, 1, 22, epoch); out != Pass || in != Pass {
			t.Errorf("%s: refused, and yet changed something: %v, %v", name, out, in)
		}
	}
}
