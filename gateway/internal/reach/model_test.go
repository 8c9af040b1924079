package reach

import (
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/boothwire/boothwire/internal/packet"
)

// model is the policy once more, as naively as can be: what an operator sent in
// his reach may be answered, nothing else passes. It knows no time and no bound.
type model struct{ asked map[tuple]bool }

type tuple struct {
	op, dev     string
	proto       uint8
	oport, port uint16
}

var (
	devices   = map[string]string{dev1: "one", dev1b: "one", dev2: "two"}
	operators = map[string]string{op1: "one", op1b: "one", op2: "two"}
	granted   = map[string]map[Port]bool{
		op1:  {{packet.TCP, 22}: true, {packet.TCP, 3389}: true, {packet.UDP, 3389}: true},
		op1b: {{packet.TCP, 445}: true},
		op2:  {{packet.TCP, 22}: true},
	}
)

// passes says whether b may pass, and remembers that it did.
func (m *model) passes(b []byte) bool {
	if len(b) < 20 || b[0] != 0x45 || int(b[2])<<8|int(b[3]) > len(b) || b[6]&0x3f != 0 || b[7] != 0 || b[8] < 2 {
		return false
	}
	b = b[:int(b[2])<<8|int(b[3])]
	if len(b) < 28 {
		return false
	}
	src, dst := netip.AddrFrom4([4]byte(b[12:16])).String(), netip.AddrFrom4([4]byte(b[16:20])).String()
	p := b[20:]
	first, second := uint16(p[0])<<8|uint16(p[1]), uint16(p[2])<<8|uint16(p[3])
	tcp := b[9] == packet.TCP
	var flags uint8
	switch b[9] {
	case packet.TCP:
		if len(p) < 20 || p[12]>>4 < 5 || int(p[12]>>4)*4 > len(p) {
			return false
		}
		flags = p[13]
		if steers := flags & (packet.SYN | packet.FIN | packet.RST); bits.OnesCount8(steers) > 1 || flags&(packet.SYN|packet.RST|packet.ACK) == 0 {
			return false
		}
	case packet.UDP:
		if n := int(p[4])<<8 | int(p[5]); n < 8 || n > len(p) {
			return false
		}
	case packet.ICMP:
		if p[1] != 0 {
			return false
		}
	default:
		return false
	}
	if s, ok := operators[src]; ok && devices[dst] == s {
		k := tuple{src, dst, b[9], first, second}
		if b[9] == packet.ICMP {
			k.oport, k.port = uint16(p[4])<<8|uint16(p[5]), 0
			if p[0] != 8 {
				return false
			}
		} else if !granted[src][Port{b[9], second}] {
			return false
		}
		m.asked[k] = !(tcp && flags&packet.RST != 0)
		return true
	}
	if s, ok := devices[src]; ok && operators[dst] == s {
		k := tuple{dst, src, b[9], second, first}
		if b[9] == packet.ICMP {
			k.oport, k.port = uint16(p[4])<<8|uint16(p[5]), 0
			if p[0] != 0 {
				return false
			}
		}
		if !m.asked[k] || tcp && flags&packet.SYN != 0 && flags&packet.ACK == 0 {
			return false
		}
		if tcp && flags&packet.RST != 0 {
			m.asked[k] = false
		}
		return true
	}
	return false
}

// agree puts packets through table and model and stops where they differ.
func agree(t *testing.T, packets [][]byte) {
	table, _ := newTable(t, nil)
	m := &model{asked: make(map[tuple]bool)}
	for i, b := range packets {
		got, want := filter(table, b, epoch) == Pass, m.passes(b)
		if got != want {
			t.Fatalf("packet %d of %d, %x: passes %v, want %v", i, len(packets), b, got, want)
		}
	}
}

// draw makes a packet that is likely to be nearly right.
func draw(r func(n int) int) []byte {
	addresses := []string{dev1, dev1, dev1b, op1, op1, op1b, dev2, op2, proofAddr, "10.166.9.9"}
	ports := []uint16{22, 3389, 445, 40000, 40001}
	b := build{
		src: addresses[r(len(addresses))], dst: addresses[r(len(addresses))],
		proto: []uint8{packet.TCP, packet.TCP, packet.UDP, packet.ICMP, 47}[r(5)],
		sport: ports[r(5)], dport: ports[r(5)],
		flags: []uint8{packet.SYN, packet.SYN | packet.ACK, packet.ACK, packet.ACK, packet.FIN | packet.ACK, packet.RST}[r(6)],
		icmp:  []uint8{packet.EchoRequest, packet.EchoReply, 3}[r(3)],
	}
	switch r(40) {
	case 4:
		b.flags = uint8(r(256))
	case 0:
		b.fragment = 0x2000
	case 1:
		b.fragment = 185
	case 2:
		b.options = true
	case 3:
		b.ttl = 1
	}
	p := b.bytes()
	if r(20) == 0 {
		p = p[:r(len(p)+1)]
	}
	return p
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		packets := make([][]byte, 2000)
		for i := range packets {
			packets[i] = draw(r.IntN)
		}
		agree(t, packets)
	}
}

// FuzzFilter reads its input as choices for packets, and ends with raw bytes.
func FuzzFilter(f *testing.F) {
	f.Add([]byte{3, 0, 0, 3, 0, 0, 0, 9, 1, 0, 3, 0, 0, 3, 1, 0, 9, 1}, []byte{0x45})
	f.Add([]byte("a longer seed of many choices, so that replies come about"), build{src: op1, dst: dev1, proto: packet.TCP, dport: 22}.bytes())
	f.Add([]byte{}, build{src: dev1, dst: op1, proto: packet.UDP, sport: 3389}.bytes())
	f.Fuzz(func(t *testing.T, choices, raw []byte) {
		r := func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			c := int(choices[0])
			choices = choices[1:]
			return c % n
		}
		var packets [][]byte
		for len(choices) > 0 && len(packets) < 200 {
			packets = append(packets, draw(r))
		}
		agree(t, append(packets, raw, raw))
	})
}
