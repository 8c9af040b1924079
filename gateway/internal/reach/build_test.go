package reach

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/packet"
)

// build makes a packet by hand: 4-in-4 only, checksums left out.
type build struct {
	src, dst     string
	proto        uint8
	sport, dport uint16 // of an echo: id and seq
	flags        uint8
	icmp         uint8
	fragment     uint16
	options      bool
	ttl          uint8
	size         int
}

func (b build) bytes() []byte {
	header := 20
	if b.options {
		header = 24
	}
	payload := map[uint8]int{packet.TCP: 20, packet.UDP: 8, packet.ICMP: 8}[b.proto]
	p := make([]byte, max(header+payload, b.size))
	p[0] = 0x40 | byte(header/4)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[6:], b.fragment)
	p[8] = b.ttl
	if b.ttl == 0 {
		p[8] = 64
	}
	p[9] = b.proto
	src, dst := netip.MustParseAddr(b.src).As4(), netip.MustParseAddr(b.dst).As4()
	copy(p[12:], src[:])
	copy(p[16:], dst[:])
	t := p[header:]
	switch b.proto {
	case packet.TCP:
		binary.BigEndian.PutUint16(t, b.sport)
		binary.BigEndian.PutUint16(t[2:], b.dport)
		t[12] = 0x50
		t[13] = b.flags
	case packet.UDP:
		binary.BigEndian.PutUint16(t, b.sport)
		binary.BigEndian.PutUint16(t[2:], b.dport)
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	case packet.ICMP:
		t[0] = b.icmp
		binary.BigEndian.PutUint16(t[4:], b.sport)
		binary.BigEndian.PutUint16(t[6:], b.dport)
	}
	return p
}

const (
	proofAddr = "10.166.0.1"
	dev1      = "10.166.1.1"
	dev1b     = "10.166.1.2"
	op1       = "10.166.200.1"
	op1b      = "10.166.200.2"
	dev2      = "10.166.1.3"
	op2       = "10.166.200.3"
)

var epoch = time.Unix(1_800_000_000, 0)

func key(i byte) [32]byte { return [32]byte{i, 31: 1} }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// sessionOne has two operators with different ports, and a device of two addresses.
func sessionOne() *Session {
	return &Session{
		ID:     "one",
		Device: Device{Key: key(1), Addresses: []netip.Addr{addr(dev1), addr(dev1b)}},
		Operators: []Operator{
			{Key: key(2), Address: addr(op1), Ports: []Port{{packet.TCP, 22}, {packet.TCP, 3389}, {packet.UDP, 3389}}},
			{Key: key(3), Address: addr(op1b), Ports: []Port{{packet.TCP, 445}}},
		},
		End: epoch.Add(time.Hour),
	}
}

func sessionTwo() *Session {
	return &Session{
		ID:        "two",
		Device:    Device{Key: key(4), Addresses: []netip.Addr{addr(dev2)}},
		Operators: []Operator{{Key: key(5), Address: addr(op2), Ports: []Port{{packet.TCP, 22}}}},
		End:       epoch.Add(2 * time.Hour),
	}
}

// newTable holds both sessions.
func newTable(t testing.TB, proved func(string)) (*Table, *Tally) {
	t.Helper()
	tally := &Tally{}
	table := NewTable(addr(proofAddr), tally, proved)
	for _, s := range []*Session{sessionOne(), sessionTwo()} {
		if err := table.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	return table, tally
}

// filter decides on one packet, behind an offset as wireguard-go has it.
func filter(table *Table, p []byte, now time.Time) Reason {
	var out [1]Verdict
	table.Filter([][]byte{append(make([]byte, 16), p...)}, 16, now, out[:])
	return out[0].Reason
}
