package bind

import (
	"net/netip"
	"slices"

	"golang.zx2c4.com/wireguard/conn"
)

// knownIndices is how many handshakes of a peer are remembered: WireGuard has at
// most a previous, a current and a next session, and one more under way.
const knownIndices = 4

// AddPeer returns the peer of that id, made if there is none: from here on
// ParseEndpoint("peer:ID") returns its endpoint. Ids are the caller's.
// Give all peers of a device one, or none: while a Bind has a single peer, what
// WireGuard sends to an address of its own finding is taken to be for that one.
func (b *Bind) AddPeer(id string) *Peer {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.peers[id]; p != nil {
		return p
	}
	b.added++
	p := &Peer{bind: b, id: id}
	p.handshake.hold = b.cfg.HoldInitiation
	p.ep = newEndpoint(p, b.added)
	b.peers[id] = p
	b.count.Store(int64(len(b.peers)))
	return p
}

// RemovePeer forgets the peer: nothing is sent to it any more, and its addresses
// are unknown. Remove it from the device first.
func (b *Bind) RemovePeer(id string) {
	b.mu.Lock()
	p := b.peers[id]
	if p == nil {
		b.mu.Unlock()
		return
	}
	delete(b.peers, id)
	b.count.Store(int64(len(b.peers)))
	for _, s := range p.sources {
		b.table.remove(s)
	}
	for _, s := range p.streams {
		s.end()
	}
	p.sources, p.streams = nil, nil
	forget(b.local, p, p.local)
	forget(b.remote, p, p.remote)
	p.local, p.remote = nil, nil
	p.path.Store(nil)
	b.mu.Unlock()
	p.rest(true)
}

// setPaths replaces a peer's path by what choose makes of it; roamed: by one that
// WireGuard found. choose is called with b.mu held.
func (b *Bind) setPaths(p *Peer, roamed bool, choose func(primary, also Route) (Route, Route)) {
	b.mu.Lock()
	if b.peers[p.id] != p {
		b.mu.Unlock()
		return
	}
	oldPrimary, oldAlso := p.Routes()
	primary, also := choose(oldPrimary, oldAlso)
	if primary.IsZero() {
		also = Route{}
	}
	if primary == oldPrimary && also == oldAlso {
		b.mu.Unlock()
		return
	}
	var next *path
	if !primary.IsZero() {
		// The inner Bind refuses no valid address; one that it did would be no path.
		next = new(path)
		next.primary = b.leg(p, primary)
		if !also.IsZero() && also != primary {
			next.also = b.leg(p, also)
		}
		if next.primary.src == nil { // a stream that has just ended
			next.primary, next.also = next.also, leg{}
		}
		if next.primary.src == nil {
			next = nil
		}
	}
	p.path.Store(next)
	b.forgetSources(p, roamed)
	moved := primary != oldPrimary && primary != oldAlso
	added := moved || !also.IsZero() && also != oldPrimary && also != oldAlso
	msg := p.pathChanged(next != nil, moved, added)
	b.mu.Unlock()
	if msg != nil {
		_ = p.write([][]byte{msg}) // it is repeated if that fails
	}
}

// leg makes r a leg of p's path, and its address a known one; b.mu is held.
func (b *Bind) leg(p *Peer, r Route) leg {
	if r.stream != nil {
		if r.stream.over() || r.stream.src.peer != p {
			return leg{}
		}
		return leg{src: r.stream.src}
	}
	addr := r.addr
	ep, err := b.inner.ParseEndpoint(addr.String())
	if err != nil {
		return leg{}
	}
	i := slices.IndexFunc(p.sources, func(s *source) bool { return s.addr == addr })
	var s *source
	if i >= 0 {
		s = p.sources[i]
		p.sources = append(slices.Delete(p.sources, i, i+1), s)
	} else {
		s = &source{peer: p, addr: addr}
		p.sources = append(p.sources, s)
		b.table.add(s)
	}
	return leg{ep, s}
}

// forgetSources drops former addresses of a peer, the oldest over the limit, or
// all after WireGuard has roamed: where nobody chose the path, packets from a
// former address must be able to move it back. b.mu is held.
func (b *Bind) forgetSources(p *Peer, roamed bool) {
	limit := knownBefore + 2
	if roamed {
		limit = 1
	}
	for len(p.sources) > limit {
		s := p.sources[0]
		p.sources = p.sources[1:]
		b.table.remove(s)
	}
}

// learn notes the indices in a handshake message that the device sends to p.
func (b *Bind) learn(p *Peer, k kind, msg []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.peers[p.id] != p {
		return
	}
	p.local = remember(b.local, p, p.local, senderIndex(msg))
	if k == kindResponse {
		p.remote = remember(b.remote, p, p.remote, responseReceiver(msg))
	}
}

// remember puts index into a map of indices, and takes p's oldest out.
func remember(m map[uint32]*Peer, p *Peer, list []uint32, index uint32) []uint32 {
	if m[index] == p {
		return list
	}
	m[index] = p
	list = append(list, index)
	if len(list) > knownIndices {
		forget(m, p, list[:1])
		list = list[1:]
	}
	return list
}

// forget takes p's indices out of a map.
func forget(m map[uint32]*Peer, p *Peer, list []uint32) {
	for _, index := range list {
		if m[index] == p {
			delete(m, index)
		}
	}
}

// arrived takes a handshake message from the network, or a transport message
// while a response waits to be confirmed. It reports whether the device must not
// have the message, because it has a copy already.
func (b *Bind) arrived(k kind, msg []byte) (again bool) {
	var index uint32
	switch {
	case k == kindInitiation:
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.copies.again(b.now(), msg)
	case k == kindResponse && len(msg) >= 12:
		index = responseReceiver(msg)
	case k == kindCookie || k == kindTransport:
		index = receiverIndex(msg)
	default:
		return false
	}
	b.mu.Lock()
	again = k == kindResponse && b.copies.again(b.now(), msg)
	p := b.local[index]
	if p != nil && k == kindResponse {
		p.remote = remember(b.remote, p, p.remote, senderIndex(msg))
	}
	b.mu.Unlock()
	switch {
	case p == nil:
	case k == kindTransport:
		p.confirmed(index)
	default:
		p.answered(index)
	}
	return again
}

// roamed finds the peer that WireGuard sends to when it uses an address instead
// of a peer's endpoint: it has authenticated a packet of that peer from there.
// known reports that the address is one of the peer's already. A nil peer means
// that WireGuard's endpoint is to be used as it is.
func (b *Bind) roamed(bufs [][]byte, addr netip.AddrPort) (p *Peer, known bool) {
	k := classify(bufs[0])
	b.mu.Lock()
	defer b.mu.Unlock()
	switch k {
	case kindTransport:
		p = b.remote[receiverIndex(bufs[0])]
	case kindResponse:
	default:
		return nil, false // a cookie reply goes to somebody unauthenticated
	}
	if p == nil && len(b.peers) == 1 && !b.plain {
		for _, p = range b.peers {
		}
	}
	if p == nil {
		return nil, false
	}
	return p, slices.ContainsFunc(p.sources, func(s *source) bool { return s.addr == addr })
}

// setRoamed lets p's path follow WireGuard to addr. A stream stays what it was,
// because a packet that took another way says nothing against it: addr takes the
// place of the path's address, or becomes the second leg beside a stream. So the far
// end hears from both, and whoever chooses the path learns of it by Config.Adopted.
func (b *Bind) setRoamed(p *Peer, addr netip.AddrPort) {
	b.setPaths(p, true, func(primary, also Route) (Route, Route) {
		switch {
		case primary.IsStream():
			return primary, At(addr)
		case also.IsStream():
			return At(addr), also
		}
		return At(addr), Route{}
	})
}

// sendRaw sends to an endpoint that is no peer's.
func (b *Bind) sendRaw(bufs [][]byte, ep conn.Endpoint) error {
	if b.count.Load() == 0 || len(bufs) == 0 {
		return b.transmit(bufs, ep)
	}
	addr := unmap(addrPortOf(ep))
	p, known := b.roamed(bufs, addr)
	if p == nil || !addr.IsValid() {
		return b.transmit(bufs, ep)
	}
	if !known {
		if handshakeKind(bufs[0]) == kindResponse {
			p.abandon() // or the new path would carry it
		}
		b.setRoamed(p, addr)
		if b.cfg.Adopted != nil {
			b.cfg.Adopted(p.id, addr)
		}
	}
	return p.send(bufs)
}
