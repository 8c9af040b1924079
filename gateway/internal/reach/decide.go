package reach

import "github.com/boothwire/boothwire/internal/packet"

// Verdict is what a Table decided on a packet, and of one that goes on, how: of which
// session it is, in which direction and in which flow.
type Verdict struct {
	Reason   Reason
	ToDevice bool   // the packet, or its answer
	Flow     uint8  // a hash
	Session  uint32 // as Table.Number says
}

// decide is the whole policy for one well-formed packet; t.mu is held.
func (t *Table) decide(p *packet.Info, m *match, now int64) Verdict {
	if !m.known {
		return Verdict{Reason: UnknownSource}
	}
	s, o := m.from.session, m.from.operator
	if now >= s.end {
		return Verdict{Reason: Expired}
	}
	// Whatever the device sent was decrypted with its key: that is the proof,
	// even if the packet itself may not pass.
	if o == nil && !s.proved.Load() && s.proved.CompareAndSwap(false, true) {
		t.proved(s.id)
	}
	v := Verdict{Session: s.number, ToDevice: o != nil, Flow: hash(p)}
	switch {
	case p.Fragment:
		v.Reason = Fragment
	case p.Version == 4 && p.HeaderLen != packet.IPv4Header:
		v.Reason = Options
	case p.Dst == t.proof && p.IsEchoRequest():
		v.Reason, v.ToDevice = Answer, o == nil
	case p.Dst == t.proof:
		v.Reason = ProofOnly
	case !m.target:
		v.Reason = UnknownDestination
	case m.to.session != s || (o == nil) == (m.to.operator == nil):
		v.Reason = Isolated
	case p.TTL <= 1:
		v.Reason = HopLimit
	case p.Proto == packet.TCP && !honest(p.TCPFlags):
		v.Reason = Flags
	case o != nil:
		v.Reason = s.outbound(o, m.to.device, p, now)
	default:
		v.Reason = s.inbound(m.to.operator, m.from.device, p, now)
	}
	return v
}

// hash tells flows of a session apart: its ends and ports, whichever way it goes.
func hash(p *packet.Info) uint8 {
	h := uint32(p.SrcPort)*0x9e3779b1 + uint32(p.DstPort)*0x85ebca6b + uint32(p.Proto)*0xc2b2ae35 + uint32(p.ID)*0x27d4eb2f
	return uint8(h >> 24)
}

// honest reports whether a segment may have these flags: it opens, resets or
// acknowledges, and no two of open, close and reset. What probes a stack or a filter
// (null, Christmas tree, SYN with FIN) does not.
func honest(flags uint8) bool {
	switch flags & (packet.SYN | packet.FIN | packet.RST) {
	case 0, packet.FIN:
		return flags&packet.ACK != 0
	case packet.SYN, packet.RST:
		return true
	}
	return false
}

// carries reports whether a segment is of a connection that stands: it opens, ends and
// resets none.
func carries(flags uint8) bool {
	return flags&(packet.SYN|packet.FIN|packet.RST|packet.ACK) == packet.ACK
}

// outbound decides on a packet from an operator to the session's device.
func (s *session) outbound(o *operator, device uint8, p *packet.Info, now int64) Reason {
	k := flowKey{port: p.SrcPort, devicePort: p.DstPort, proto: p.Proto, device: device}
	switch {
	case p.Proto == packet.TCP, p.Proto == packet.UDP:
		if !o.allows(p.Proto, p.DstPort) {
			return PortNotGranted
		}
	case p.IsEchoRequest():
		k.port = p.ID
	default:
		return Protocol
	}
	o.mu.Lock()
	if o.flows == nil {
		o.flows = newFlows()
	}
	o.flows.outbound(k, p.TCPFlags, now)
	o.mu.Unlock()
	s.tx.Add(uint64(p.TotalLen))
	return Pass
}

// inbound decides on a packet from the session's device to an operator.
func (s *session) inbound(o *operator, device uint8, p *packet.Info, now int64) Reason {
	k := flowKey{port: p.DstPort, devicePort: p.SrcPort, proto: p.Proto, device: device}
	switch {
	case p.Proto == packet.TCP, p.Proto == packet.UDP:
	case p.IsEchoReply():
		k.port = p.ID
	default:
		return Protocol
	}
	o.mu.Lock()
	ok := o.flows != nil && o.flows.inbound(k, p.TCPFlags, now)
	if !ok && o.resumed && p.Proto == packet.TCP && carries(p.TCPFlags) && o.allows(packet.TCP, p.SrcPort) {
		// It began elsewhere, and the operator may have nothing to say for hours.
		if o.flows == nil {
			o.flows = newFlows()
		}
		o.flows.resume(k, now)
		ok = true
	}
	o.mu.Unlock()
	if !ok {
		return NoFlow
	}
	s.rx.Add(uint64(p.TotalLen))
	return Pass
}
