package planetest

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/boothwire/boothwire/internal/packet"
)

// Words of an IPv4 header: flags and offset.
const (
	dont = 0x4000 // fragment
	more = 0x2000 // fragments follow
)

var nops = []byte{1, 1, 1, 0}

// ways are the two directions of the first session, each with a packet that passes.
func (a *arena) ways() []struct {
	from  *client
	plain datagram
	udp   datagram
} {
	d, o := a.device.address, a.operator.address
	return []struct {
		from  *client
		plain datagram
		udp   datagram
	}{
		{a.device, tcpFrom(d, ssh.Number, o, his, packet.ACK), udpFrom(d, rdp.Number, o, his, "0123456789abcdef")},
		{a.operator, tcpFrom(o, his, d, ssh.Number, packet.ACK), udpFrom(o, his, d, rdp.Number, "0123456789abcdef")},
	}
}

// fragments are never let through, the first included: a filter that saw one header
// could be told another behind it.
func (a *arena) fragments() (rows []attack) {
	for _, w := range a.ways() {
		part := func(d datagram, word uint16, from, to int) datagram {
			d.fragment, d.payload = word, d.payload[from:to]
			return d
		}
		u := w.udp
		rows = append(rows,
			attack{name: "a first one", from: w.from, packets: one(part(w.plain, more, 0, 20), part(u, more, 0, 16))},
			attack{name: "a later one", from: w.from, packets: one(part(w.plain, 3, 0, 20), part(u, 1, 8, 24), part(u, more|2, 8, 24))},
			attack{name: "a whole packet in two", from: w.from, packets: one(part(u, more, 0, 16), part(u, 2, 16, 24))},
			attack{name: "the last before the first", from: w.from, packets: one(part(u, 2, 16, 24), part(u, more, 0, 16))},
			attack{name: "tiny ones", from: w.from, packets: one(part(w.plain, more, 0, 8), part(w.plain, 1, 8, 20))},
			attack{name: "overlapping ones", from: w.from, packets: one(part(u, more, 0, 16), part(u, 1, 8, 24), part(u, 0x1fff, 0, 8))},
			attack{name: "beyond the longest packet", from: w.from, packets: one(part(u, 0x1fff, 0, 24))},
		)
	}
	return rows
}

// headers are those of no honest packet.
func (a *arena) headers() (rows []attack) {
	for _, w := range a.ways() {
		with := func(change func(d *datagram)) []byte {
			d := w.plain
			d.payload = slices.Clone(d.payload)
			change(&d)
			return d.bytes()
		}
		dst := w.plain.dst.As4()
		hop := dst[:]
		options := map[string][]byte{
			"loose source route":  append([]byte{131, 7, 4}, append(slices.Clone(hop), 0)...),
			"strict source route": append([]byte{137, 7, 4}, append(slices.Clone(hop), 0)...),
			"record route":        {7, 7, 4, 0, 0, 0, 0, 0},
			"timestamp":           {68, 8, 5, 0, 0, 0, 0, 0},
			"router alert":        {148, 4, 0, 0},
			"no operation":        nops,
			"an unknown option":   {30, 4, 0, 0},
			"an endless option":   {131, 255, 4, 0},
		}
		for _, name := range slices.Sorted(maps.Keys(options)) {
			rows = append(rows, attack{name: name, from: w.from, packets: [][]byte{with(func(d *datagram) { d.options = options[name] })}})
		}
		long := func(size int, word uint16) []byte {
			d := udpFrom(w.udp.src, binary.BigEndian.Uint16(w.udp.payload), w.udp.dst, binary.BigEndian.Uint16(w.udp.payload[2:]), strings.Repeat("x", size-28))
			d.fragment = word
			return d.bytes()
		}
		short := func(change func(b []byte) []byte) []byte { return change(w.plain.bytes()) }
		rows = append(rows,
			attack{name: "no hop left", from: w.from, packets: [][]byte{
				with(func(d *datagram) { d.ttl = 1 }), with(func(d *datagram) { d.none = true })}},
			attack{name: "longer than the MTU", from: w.from, packets: [][]byte{
				long(mtu+1, 0), long(mtu+1, dont), long(1500, 0), long(1500, dont), long(4000, 0), long(4000, dont)}},
			attack{name: "a TCP header cut short", from: w.from, packets: [][]byte{
				with(func(d *datagram) { d.payload = nil }), with(func(d *datagram) { d.payload = d.payload[:4] }),
				with(func(d *datagram) { d.payload = d.payload[:13] }), with(func(d *datagram) { d.payload = d.payload[:19] }),
				with(func(d *datagram) { d.payload[12] = 0x40 })}},
			attack{name: "a UDP header cut short", from: w.from, packets: [][]byte{
				datagram{src: w.udp.src, dst: w.udp.dst, proto: packet.UDP, payload: w.udp.payload[:4]}.bytes(),
				datagram{src: w.udp.src, dst: w.udp.dst, proto: packet.UDP, payload: w.udp.payload[:7]}.bytes()}},
			attack{name: "a length that lies", from: w.from, packets: [][]byte{
				with(func(d *datagram) { d.length = 2000 }), with(func(d *datagram) { d.length = 19 }), with(func(d *datagram) { d.length = 22 })}},
			attack{name: "a header that lies", from: w.from, packets: [][]byte{
				short(func(b []byte) []byte { b[0] = 0x4f; return b }), short(func(b []byte) []byte { b[0] = 0x44; return b }),
				short(func(b []byte) []byte { b[0] = 0x40; return b })}},
		)
	}
	return rows
}

// icmp are messages that steer: none but echoes pass.
func (a *arena) icmp() (rows []attack) {
	for _, w := range a.ways() {
		src, dst := w.plain.src, w.plain.dst
		for _, to := range []struct {
			name   string
			dst    *client
			quoted []byte
		}{
			{"of his own flow", nil, tcpFrom(dst, his, src, ssh.Number, packet.ACK).bytes()},
			{"of another's flow", nil, tcpFrom(dst, his, a.device2.address, ssh.Number, packet.ACK).bytes()},
			{"to another session", a.operator2, tcpFrom(a.operator2.address, his, a.device2.address, ssh.Number, packet.ACK).bytes()},
		} {
			target := dst
			if to.dst != nil {
				target = to.dst.address
			}
			quoted := to.quoted[:28]
			rows = append(rows, attack{name: "errors " + to.name, from: w.from, packets: one(
				icmpFrom(src, target, 3, 1, 0, quoted), icmpFrom(src, target, 3, 3, 0, quoted), icmpFrom(src, target, 3, 4, 576, quoted),
				icmpFrom(src, target, 4, 0, 0, quoted), icmpFrom(src, target, 11, 0, 0, quoted), icmpFrom(src, target, 12, 0, 0, quoted))})
			rows = append(rows, attack{name: "a redirect " + to.name, from: w.from, packets: one(
				icmpFrom(src, target, 5, 0, addrWord(src.As4()), quoted), icmpFrom(src, target, 5, 1, addrWord(src.As4()), quoted),
				icmpFrom(src, a.proof, 5, 1, addrWord(src.As4()), quoted))})
		}
		rows = append(rows, attack{name: "routers, clocks, masks", from: w.from, packets: one(
			icmpFrom(src, dst, 9, 0, 0x01020000, make([]byte, 8)), icmpFrom(src, dst, 10, 0, 0, nil), icmpFrom(src, dst, 13, 0, 0, make([]byte, 12)),
			icmpFrom(src, dst, 14, 0, 0, make([]byte, 12)), icmpFrom(src, dst, 17, 0, 0, make([]byte, 4)), icmpFrom(src, dst, 42, 0, 0, nil),
			icmpFrom(src, dst, 255, 0, 0, nil), icmpFrom(src, dst, packet.EchoRequest, 1, 7<<16, nil))})
		rows = append(rows, attack{name: "an echo cut short", from: w.from, packets: one(
			datagram{src: src, dst: dst, proto: packet.ICMP, payload: echoFrom(src, dst, w.from == a.device, 7, 1).payload[:4]})})
	}
	return rows
}

func addrWord(a [4]byte) uint32 { return binary.BigEndian.Uint32(a[:]) }

// protocols are all but TCP, UDP and ICMP, and all of IPv6.
func (a *arena) protocols() (rows []attack) {
	for _, w := range a.ways() {
		src, dst := w.plain.src, w.plain.dst
		inner := w.plain.bytes()
		var list []datagram
		for _, proto := range []uint8{0, 2, 4, 41, 46, 47, 50, 51, 58, 89, 103, 112, 115, 132, 136, 33, 253, 255} {
			list = append(list,
				datagram{src: src, dst: dst, proto: proto, payload: inner}, datagram{src: src, dst: dst, proto: proto, payload: w.plain.payload},
				datagram{src: src, dst: a.proof, proto: proto, payload: inner})
		}
		rows = append(rows, attack{name: "other protocols", from: w.from, packets: one(list...)})
		mapped := "::ffff:" + src.String()
		rows = append(rows, attack{name: "IPv6", from: w.from, packets: [][]byte{
			sixFrom(mapped, "::ffff:"+dst.String(), packet.TCP, w.plain.payload),
			sixFrom("fe80::1", "ff02::1", packet.ICMPv6, []byte{134, 0, 0, 0, 64, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}),
			sixFrom("fe80::1", "ff02::2", packet.ICMPv6, []byte{133, 0, 0, 0, 0, 0, 0, 0}),
			sixFrom("::1", "::1", packet.UDP, w.udp.payload),
			sixFrom("fd00::1", "fd00::2", packet.TCP, w.plain.payload),
			sixFrom("::"+src.String(), "::"+dst.String(), packet.TCP, w.plain.payload),
			sixFrom("2001:db8::1", "2001:db8::2", 44, append([]byte{6, 0, 0, 1, 0, 0, 0, 1}, w.plain.payload...)),
			sixFrom("2001:db8::1", "2001:db8::2", 0, append([]byte{6, 0, 5, 2, 0, 0, 1, 0}, w.plain.payload...)),
		}})
	}
	return rows
}
