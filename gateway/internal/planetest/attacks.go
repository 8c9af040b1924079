package planetest

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/packet"
)

// attack is one row of the table: packets that somebody sends, none of which may
// reach anybody, nor bring an answer.
type attack struct {
	name    string
	from    *client
	packets [][]byte
	to      *client // not nil: a control, which must reach this one
	flow    bool    // only a filter that knows flows stops it
}

// arena is where attacks happen: two sessions, the first with two operators, and
// services of the host that nobody may reach through the tunnel.
type arena struct {
	*world
	device, operator   *client // of the first session, hostile in turn
	second             *client // its other operator
	device2, operator2 *client // of the second session
	host               *services
}

// Ports of the flows that exist before the attacks: the operator's own, and that of
// the second session's.
const his = 40000

func newArena(t *testing.T, s Subject) *arena {
	w := newWorld(t, s)
	key := newKey(t)
	one := w.pair(1, func(s *reach.Session) {
		s.Operators = append(s.Operators, reach.Operator{Key: key.public, Address: numbered(201, 1), Ports: []reach.Port{smb}})
	})
	two := w.pair(2)
	a := &arena{
		world: w, device: one.device, operator: one.operator, device2: two.device, operator2: two.operator,
		second: w.connect(key, w.operators, numbered(201, 1)), host: newServices(t),
	}
	for _, p := range []*pair{one, two} {
		mark := p.device.mark()
		for _, b := range [][]byte{
			tcpFrom(p.operator.address, his, p.device.address, ssh.Number, packet.SYN).bytes(),
			udpFrom(p.operator.address, his, p.device.address, rdp.Number, "begin").bytes(),
			echoFrom(p.operator.address, p.device.address, false, 7, 1).bytes(),
		} {
			p.operator.send(b)
			p.device.gets(mark, b)
		}
	}
	return a
}

func attacks(t *testing.T, s Subject) {
	a := newArena(t, s)
	for _, rows := range []struct {
		name string
		rows []attack
	}{
		{"Controls", a.controls()},
		{"FromDevice", a.fromDevice()},
		{"FromOperator", a.fromOperator()},
		{"Node", a.node()},
		{"Spoofed", a.spoofed()},
		{"Destinations", a.destinations()},
		{"Flags", a.flags()},
		{"Fragments", a.fragments()},
		{"Headers", a.headers()},
		{"ICMP", a.icmp()},
		{"Protocols", a.protocols()},
		{"ControlsAgain", a.controls()},
	} {
		t.Run(rows.name, func(t *testing.T) {
			for _, row := range rows.rows {
				a.try(t, row)
			}
		})
	}
	a.host.untouched(t)
	if len(a.plane.Drops()) == 0 {
		t.Error("no drop was counted")
	}
}

// try has a row's packets sent, and then says what reached whom.
func (a *arena) try(t *testing.T, row attack) {
	t.Helper()
	all := []*client{a.device, a.operator, a.second, a.device2, a.operator2}
	marks := make([]int, len(all))
	for i, c := range all {
		marks[i] = c.mark()
	}
	for _, b := range row.packets {
		row.from.send(b)
	}
	if row.to != nil {
		for i, c := range all {
			if c == row.to {
				c.t = t
				c.gets(marks[i], row.packets[0])
				c.t = a.t
			}
		}
		return
	}
	row.from.fence()
	for _, c := range all {
		c.fence()
	}
	if row.flow && a.subject.NoFlows { // they pass, perhaps a moment later
		for _, b := range row.packets {
			a.operator.gets(marks[slices.Index(all, a.operator)], b)
		}
		return
	}
	for i, c := range all {
		if list := c.strangers(marks[i]); len(list) > 0 {
			t.Errorf("%s, from %v: %v got %x", row.name, row.from.address, c.address, list)
		}
	}
	a.host.untouched(t)
}

// controls are good packets, the counterparts of bad ones: they pass, so that what
// an attack shows by silence means something.
func (a *arena) controls() []attack {
	d, o := a.device.address, a.operator.address
	return []attack{
		{name: "SYN", from: a.operator, to: a.device, packets: one(tcpFrom(o, his+1, d, ssh.Number, packet.SYN))},
		{name: "SYN with ECN", from: a.operator, to: a.device, packets: one(tcpFrom(o, his+1, d, ssh.Number, packet.SYN|0xc0))},
		{name: "SYN|ACK", from: a.device, to: a.operator, packets: one(tcpFrom(d, ssh.Number, o, his+1, packet.SYN|packet.ACK))},
		{name: "ACK", from: a.operator, to: a.device, packets: one(tcpFrom(o, his+1, d, ssh.Number, packet.ACK))},
		{name: "ACK back", from: a.device, to: a.operator, packets: one(tcpFrom(d, ssh.Number, o, his+1, packet.ACK|packet.PSH))},
		{name: "FIN|ACK", from: a.operator, to: a.device, packets: one(tcpFrom(o, his+1, d, ssh.Number, packet.ACK|packet.FIN))},
		{name: "RST", from: a.operator, to: a.device, packets: one(tcpFrom(o, his+1, d, ssh.Number, packet.RST))},
		{name: "UDP", from: a.operator, to: a.device, packets: one(udpFrom(o, his, d, rdp.Number, "hello"))},
		{name: "UDP back", from: a.device, to: a.operator, packets: one(udpFrom(d, rdp.Number, o, his, "hello"))},
		{name: "UDP of the whole MTU", from: a.operator, to: a.device, packets: one(udpFrom(o, his, d, rdp.Number, strings.Repeat("x", mtu-28)))},
		{name: "echo", from: a.operator, to: a.device, packets: one(echoFrom(o, d, false, 7, 2))},
		{name: "echo reply", from: a.device, to: a.operator, packets: one(echoFrom(d, o, true, 7, 2))},
		{name: "the other session", from: a.operator2, to: a.device2, packets: one(udpFrom(a.operator2.address, his, a.device2.address, rdp.Number, "hello"))},
	}
}

func one(list ...datagram) (packets [][]byte) {
	for _, d := range list {
		packets = append(packets, d.bytes())
	}
	return packets
}

// every is one packet of each kind that may pass between some two: from a to b, with
// the ports of a flow that b has with somebody, and with those that a service has.
func every(a, b netip.Addr) [][]byte {
	return one(
		tcpFrom(a, his, b, ssh.Number, packet.SYN), tcpFrom(a, his, b, smb.Number, packet.SYN),
		tcpFrom(a, ssh.Number, b, his, packet.SYN), tcpFrom(a, ssh.Number, b, his, packet.SYN|packet.ACK),
		tcpFrom(a, ssh.Number, b, his, packet.ACK), tcpFrom(a, ssh.Number, b, his, packet.RST),
		udpFrom(a, his, b, rdp.Number, "every"), udpFrom(a, rdp.Number, b, his, "every"),
		echoFrom(a, b, false, 7, 3), echoFrom(a, b, true, 7, 1),
	)
}

// fromDevice is what a device may not do to others of the tunnel.
func (a *arena) fromDevice() []attack {
	d, o := a.device.address, a.operator.address
	return []attack{
		{name: "to another device", from: a.device, packets: every(d, a.device2.address)},
		{name: "to another session's operator", from: a.device, packets: every(d, a.operator2.address)},
		{name: "to itself", from: a.device, packets: every(d, d)},
		{name: "from no granted port", from: a.device, packets: one(
			tcpFrom(d, 23, o, his, packet.ACK), tcpFrom(d, 23, o, his, packet.SYN|packet.ACK),
			udpFrom(d, 53, o, his, "x"), udpFrom(d, ssh.Number, o, his, "x"), tcpFrom(d, rdp.Number, o, his, packet.ACK))},
		{name: "from another operator's port", from: a.device, packets: one(
			tcpFrom(d, smb.Number, o, his, packet.ACK), tcpFrom(d, ssh.Number, a.second.address, his, packet.ACK))},
		{name: "echo to its operator", from: a.device, packets: one(echoFrom(d, o, false, 7, 3))},
		{name: "TCP that nobody began", from: a.device, flow: true, packets: one(
			tcpFrom(d, ssh.Number, o, 50000, packet.ACK), tcpFrom(d, ssh.Number, o, 50000, packet.SYN|packet.ACK),
			tcpFrom(d, ssh.Number, o, 50000, packet.RST))},
		{name: "UDP that nobody began", from: a.device, flow: true, packets: one(udpFrom(d, rdp.Number, o, 50000, "x"))},
		{name: "echo reply that nobody asked for", from: a.device, flow: true, packets: one(echoFrom(d, o, true, 8, 1))},
	}
}

// fromOperator is what an operator may not do.
func (a *arena) fromOperator() []attack {
	d, o := a.device.address, a.operator.address
	return []attack{
		{name: "to another session's device", from: a.operator, packets: every(o, a.device2.address)},
		{name: "to another session's operator", from: a.operator, packets: every(o, a.operator2.address)},
		{name: "to the session's other operator", from: a.operator, packets: every(o, a.second.address)},
		{name: "to himself", from: a.operator, packets: every(o, o)},
		{name: "to no granted port", from: a.operator, packets: one(
			tcpFrom(o, his, d, 23, packet.SYN), tcpFrom(o, his, d, smb.Number, packet.SYN),
			udpFrom(o, his, d, ssh.Number, "x"), tcpFrom(o, his, d, rdp.Number, packet.SYN), udpFrom(o, his, d, 53, "x"),
			tcpFrom(o, ssh.Number, d, his, packet.ACK), udpFrom(o, rdp.Number, d, his, "x"))},
		{name: "to the other operator's port", from: a.second, packets: one(
			tcpFrom(a.second.address, his, d, ssh.Number, packet.SYN), udpFrom(a.second.address, his, d, rdp.Number, "x"))},
		{name: "echo reply to the device", from: a.operator, packets: one(echoFrom(o, d, true, 7, 1))},
	}
}

// node is what nobody may reach: services of the node itself, at any address of its
// host.
func (a *arena) node() (rows []attack) {
	for _, c := range []*client{a.device, a.operator} {
		for _, to := range append(a.host.addresses, a.proof) {
			rows = append(rows, attack{name: "services at " + to.String(), from: c, packets: one(
				tcpFrom(c.address, his, to, a.host.tcp, packet.SYN), tcpFrom(c.address, his, to, a.host.tcp, packet.ACK),
				udpFrom(c.address, his, to, a.host.udp, "to the node"), udpFrom(c.address, his, to, a.devices, "to the node"),
				udpFrom(c.address, his, to, 9, "to the node"), icmpFrom(c.address, to, 13, 0, 7<<16, make([]byte, 12)),
				icmpFrom(c.address, to, 17, 0, 7<<16, make([]byte, 4)))})
			if to != a.proof {
				rows = append(rows, attack{name: "echo to " + to.String(), from: c, packets: one(echoFrom(c.address, to, false, 7, 4))})
			}
		}
		rows = append(rows, attack{name: "more than an echo to the proof address", from: c, packets: one(
			echoFrom(c.address, a.proof, true, 7, 4),
			datagram{src: c.address, dst: a.proof, proto: packet.ICMP, payload: echoFrom(c.address, a.proof, false, 7, 4).payload[:7]},
			datagram{src: c.address, dst: a.proof, proto: packet.ICMP, options: nops, payload: echoFrom(c.address, a.proof, false, 7, 5).payload},
			datagram{src: c.address, dst: a.proof, proto: packet.ICMP, fragment: more, payload: echoFrom(c.address, a.proof, false, 7, 6).payload},
			icmpFrom(c.address, a.proof, packet.EchoRequest, 1, 7<<16, nil))})
	}
	return rows
}

// spoofed is what has a source that is not its sender's: packets that would pass if
// it were.
func (a *arena) spoofed() (rows []attack) {
	d, o := a.device.address, a.operator.address
	d2, o2 := a.device2.address, a.operator2.address
	for _, c := range []*client{a.device, a.operator} {
		sources := map[string][][]byte{
			"as another device, to its operator":  every(d2, o2),
			"as another operator, to his device":  every(o2, d2),
			"as the node":                         append(every(a.proof, d), append(every(a.proof, o), every(a.proof, o2)...)...),
			"as nobody":                           append(every(numbered(9, 9), d), every(numbered(9, 9), o)...),
			"as loopback":                         append(every(netip.MustParseAddr("127.0.0.1"), d), every(netip.MustParseAddr("127.0.0.1"), o)...),
			"as any":                              append(every(netip.MustParseAddr("0.0.0.0"), d), every(netip.MustParseAddr("0.0.0.0"), o)...),
			"as broadcast":                        append(every(netip.MustParseAddr("255.255.255.255"), d), every(netip.MustParseAddr("10.166.255.255"), o)...),
			"as multicast":                        append(every(netip.MustParseAddr("224.0.0.1"), d), every(netip.MustParseAddr("224.0.0.1"), o)...),
			"as another device, to the node":      one(echoFrom(d2, a.proof, false, 7, 5)),
			"as another operator, to the node":    one(echoFrom(o2, a.proof, false, 7, 5)),
			"as the session's other operator":     every(a.second.address, d),
			"as the device of the other operator": every(d2, a.second.address),
		}
		other := map[*client]netip.Addr{a.device: o, a.operator: d}[c]
		sources["as the session's other end"] = append(every(other, c.address), every(other, a.second.address)...)
		for _, name := range slices.Sorted(maps.Keys(sources)) {
			rows = append(rows, attack{name: name, from: c, packets: sources[name]})
		}
		for _, host := range a.host.addresses {
			rows = append(rows, attack{name: "as " + host.String(), from: c, packets: append(every(host, d), every(host, o)...)})
		}
	}
	return rows
}

// destinations are those that are nobody's, or everybody's.
func (a *arena) destinations() (rows []attack) {
	for _, c := range []*client{a.device, a.operator} {
		for _, to := range []string{
			"255.255.255.255", "10.166.255.255", "10.166.1.255", "10.166.0.0", "10.255.255.255", "224.0.0.1", "224.0.0.251",
			"239.255.255.250", "127.0.0.1", "127.1.2.3", "0.0.0.0", "169.254.169.254", "192.0.2.1", "203.0.113.9", "240.0.0.1",
		} {
			dst := netip.MustParseAddr(to)
			packets := every(c.address, dst)
			packets = append(packets, one(udpFrom(c.address, his, dst, a.host.udp, "to "+to), tcpFrom(c.address, his, dst, a.host.tcp, packet.SYN))...)
			rows = append(rows, attack{name: "to " + to, from: c, packets: packets})
		}
	}
	return rows
}

// flags are tricks with those of TCP, on flows that exist.
func (a *arena) flags() []attack {
	d, o := a.device.address, a.operator.address
	const (
		fin, syn, rst, psh, ack, urg = packet.FIN, packet.SYN, packet.RST, packet.PSH, packet.ACK, packet.URG
	)
	var rows []attack
	tricks := map[string][]uint8{
		"null": {0}, "xmas": {fin | psh | urg}, "FIN alone": {fin}, "PSH or URG alone": {psh, urg, psh | urg},
		"SYN and FIN": {syn | fin, syn | fin | ack}, "SYN and RST": {syn | rst, syn | rst | ack},
		"FIN and RST": {fin | rst, fin | rst | ack}, "all": {fin | syn | rst | psh | ack | urg},
	}
	for _, name := range slices.Sorted(maps.Keys(tricks)) {
		for _, f := range tricks[name] {
			rows = append(rows,
				attack{name: name, from: a.device, packets: one(tcpFrom(d, ssh.Number, o, his, f))},
				attack{name: name, from: a.operator, packets: one(tcpFrom(o, his, d, ssh.Number, f))})
		}
	}
	return append(rows,
		attack{name: "simultaneous open", from: a.device, packets: one(tcpFrom(d, ssh.Number, o, his, syn))},
		attack{name: "bare SYN from a granted port", from: a.device, packets: one(
			tcpFrom(d, ssh.Number, o, smb.Number, syn), tcpFrom(d, ssh.Number, o, 3389, syn|psh), tcpFrom(d, ssh.Number, o, 3389, syn|urg),
			tcpFrom(d, ssh.Number, o, 3389, syn|0xc0))},
	)
}
