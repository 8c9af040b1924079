package reach

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/boothwire/boothwire/internal/packet"
)

const (
	// RenewPort is the UDP port of a device's tunnel address that takes renewals.
	RenewPort = 10166

	// MaxRenew is the longest renewal, in bytes: with its headers it fits the least
	// MTU of IPv6.
	MaxRenew = 1200

	renewRate  = 2 // a second, and as many at once
	renewsKept = 4 // that nobody has taken yet
)

// isRenew reports whether p, from WireGuard, is for the port that takes renewals,
// from a peer.
func (f *Filter) isRenew(p *packet.Info) bool {
	return f.rules.Renew && !f.rules.Outbound && p.Proto == packet.UDP && p.DstPort == RenewPort
}

// renew takes the renewal in b, which p was parsed from; what there are too many of,
// or is too long, is dropped.
func (f *Filter) renew(b []byte, p *packet.Info, now time.Duration) Verdict {
	udp := b[p.HeaderLen:p.TotalLen]
	token := udp[packet.UDPHeader:binary.BigEndian.Uint16(udp[4:])]
	if len(token) == 0 || len(token) > MaxRenew || !f.allowance.take(now) {
		return Drop
	}
	select {
	case f.renewals <- append([]byte(nil), token...):
		return Renewal
	default:
		return Drop
	}
}

// Renewals delivers what peers sent to RenewPort.
func (f *Filter) Renewals() <-chan []byte { return f.renewals }

// An allowance is a token bucket.
type allowance struct {
	left float64
	last time.Duration
}

func (a *allowance) take(now time.Duration) bool {
	if a.last == 0 {
		a.left = renewRate
	}
	a.left = min(a.left+(now-a.last).Seconds()*renewRate, renewRate)
	a.last = now
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}

// AppendRenew appends a packet from src that brings a renewal to dst. It returns b as
// it was when they are not of one family.
func AppendRenew(b []byte, src, dst netip.Addr, token []byte) []byte {
	src, dst = src.Unmap(), dst.Unmap()
	if !src.IsValid() || !dst.IsValid() || src.Is4() != dst.Is4() {
		return b
	}
	size := packet.UDPHeader + len(token)
	start := len(b)
	pseudo := uint32(packet.UDP) + uint32(size)
	if src.Is4() {
		ip := make([]byte, packet.IPv4Header)
		ip[0], ip[6], ip[8], ip[9] = 0x45, 0x40, 64, packet.UDP
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+size))
		copy(ip[12:], src.AsSlice())
		copy(ip[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], packet.Checksum(ip, 0))
		pseudo = packet.Sum(ip[12:20], pseudo)
		b = append(b, ip...)
	} else {
		ip := make([]byte, packet.IPv6Header)
		ip[0], ip[6], ip[7] = 0x60, packet.UDP, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(size))
		copy(ip[8:], src.AsSlice())
		copy(ip[24:], dst.AsSlice())
		pseudo = packet.Sum(ip[8:40], pseudo)
		b = append(b, ip...)
	}
	var udp [packet.UDPHeader]byte
	binary.BigEndian.PutUint16(udp[:], RenewPort)
	binary.BigEndian.PutUint16(udp[2:], RenewPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(size))
	header := len(b) - start
	b = append(append(b, udp[:]...), token...)
	sum := packet.Checksum(b[start+header:], pseudo)
	if sum == 0 {
		sum = 0xffff // RFC 768: zero means none
	}
	binary.BigEndian.PutUint16(b[start+header+6:], sum)
	return b
}
