package reach

import "github.com/boothwire/boothwire/internal/packet"

// decide is the whole policy for one well-formed packet; t.mu is held.
func (t *Table) decide(p *packet.Info, now int64) Reason {
	from, ok := t.members[p.Src]
	if !ok {
		return UnknownSource
	}
	s := from.session
	if now >= s.end {
		return Expired
	}
	// Whatever the device sent was decrypted with its key: that is the proof,
	// even if the packet itself may not pass.
	if from.operator == nil && !s.proved.Load() && s.proved.CompareAndSwap(false, true) {
		t.proved(s.id)
	}
	if p.Fragment {
		return Fragment
	}
	if p.Version == 4 && p.HeaderLen != packet.IPv4Header {
		return Options
	}
	if p.Dst == t.proof {
		if p.IsEchoRequest() {
			return Answer
		}
		return ProofOnly
	}
	to, ok := t.members[p.Dst]
	switch {
	case !ok:
		return UnknownDestination
	case to.session != s || (from.operator == nil) == (to.operator == nil):
		return Isolated
	case p.TTL <= 1:
		return HopLimit
	case p.Proto == packet.TCP && !honest(p.TCPFlags):
		return Flags
	case from.operator != nil:
		return s.outbound(from.operator, to.device, p, now)
	}
	return s.inbound(to.operator, from.device, p, now)
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
	o.mu.Unlock()
	if !ok {
		return NoFlow
	}
	s.rx.Add(uint64(p.TotalLen))
	return Pass
}
