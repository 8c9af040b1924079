package kernel

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/packet"
)

// session is what of a session stands in the kernel.
type session struct {
	now   reach.Session
	turn  reach.Turn // of the device, whose next key proves itself by a handshake
	ways  []way
	class uint16         // of traffic; 0: none
	past  reach.Counters // of ways that are no more
}

// ways are what the operators of a session may do.
func ways(v *reach.Session) (list []way) {
	for _, o := range v.Operators {
		for _, d := range v.Device.Addresses {
			list = append(list, way{operator: o.Address, device: d, proto: packet.ICMP})
			for _, p := range o.Ports {
				list = append(list, way{operator: o.Address, device: d, proto: p.Proto, port: p.Number})
			}
		}
	}
	return list
}

// Set installs a session, or changes the one of that id: peers that stay keep their
// keys in use and their endpoints, ways that stay their connections. When it fails,
// nothing of the session is left.
func (p *Plane) Set(v reach.Session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	if err := p.ledger.Set(&v); err != nil {
		return err
	}
	v.Operators = slices.Clone(v.Operators)
	v.Device.Addresses = slices.Clone(v.Device.Addresses)
	old := p.sessions[v.ID]
	next := &session{now: v, ways: ways(&v)}
	kept := false
	if old == nil {
		old = p.inherited(&v)
		kept = p.devices.met[v.Device.Key]
	}
	p.sessions[v.ID] = next
	delete(p.turning, v.ID)
	if err := p.change(old, next); err != nil {
		p.remove(v.ID)
		p.clear(v.ID, old) // of which some may stand still
		return err
	}
	if kept {
		p.tell([]string{v.ID})
	}
	return nil
}

// inherited is what a former process left of a session: its class of traffic and, if
// the device has a key that is to be its next and did not come with it yet, the key
// whose tunnel it uses.
func (p *Plane) inherited(v *reach.Session) *session {
	first := v.Device.Addresses[0]
	s := &session{class: p.firewall.classes[first]}
	if before, ok := p.devices.held[first]; ok && before != v.Device.Key && !p.devices.met[v.Device.Key] {
		s.now = reach.Session{ID: v.ID, Device: reach.Device{Addresses: p.devices.have[before]}}
		s.turn.Key = before
	}
	return s
}

// change makes the kernel hold next instead of old.
func (p *Plane) change(old, next *session) error {
	now := time.Now()
	var devices, operators change
	p.carry(&devices, old, next)
	devices.add(next.turn.Key, next.now.Device.Addresses...)
	if next.turn.Next != nil {
		devices.add(*next.turn.Next)
		p.turning[next.now.ID] = *next.turn.Next
	}
	for _, o := range old.now.Operators {
		if !slices.ContainsFunc(next.now.Operators, func(n reach.Operator) bool { return n.Key == o.Key }) {
			operators.remove(o.Key)
		}
	}
	for _, o := range next.now.Operators {
		operators.add(o.Key, o.Address)
	}
	if err := p.share(old, next); err != nil {
		return err
	}
	d := p.delta(old, next)
	next.past = p.past(old, d.shut)
	if err := p.firewall.apply(d, now); err != nil {
		return err
	}
	if old.class != next.class {
		p.shaper.end(old.class)
	}
	for _, o := range next.now.Operators {
		if err := p.links.route(o.Address); err != nil {
			return err
		}
	}
	for _, a := range members(&old.now) {
		if !slices.Contains(members(&next.now), a) {
			p.links.unroute(a)
		}
	}
	if err := p.devices.apply(&devices); err != nil {
		return err
	}
	if err := p.operators.apply(&operators); err != nil {
		return err
	}
	p.await(d.await, now)
	return nil
}

// carry decides which of the device's keys live on when old becomes next.
func (p *Plane) carry(c *change, old, next *session) {
	wanted, id := next.now.Device.Key, next.now.ID
	if old.now.ID == "" {
		next.turn.Key = wanted
		return
	}
	var dropped *[32]byte
	next.turn, dropped = old.turn.To(wanted, p.cfg.Patience, func(key [32]byte) { p.promote(id, key) })
	if dropped != nil {
		c.remove(*dropped)
	}
}

// share gives the session its class of traffic, if it needs one.
func (p *Plane) share(old, next *session) error {
	if old.class != 0 {
		next.class = old.class
	}
	if !p.shaper.wanted(&next.now) {
		next.class = 0
		return nil
	}
	was := p.shaper.on
	class, err := p.shaper.set(next.class, limits{up: uint64(next.now.Up), down: uint64(next.now.Down)})
	if err != nil {
		return err
	}
	next.class = class
	if !was {
		return p.program()
	}
	return nil
}

// delta is what changes in the sets.
func (p *Plane) delta(old, next *session) *delta {
	d := &delta{opened: next.ways, alive: make(map[netip.Addr]time.Time), class: make(map[netip.Addr]uint16)}
	for _, w := range old.ways {
		if !slices.Contains(next.ways, w) {
			d.shut = append(d.shut, w)
		}
	}
	for _, a := range members(&old.now) {
		d.alive[a], d.class[a] = time.Time{}, 0
	}
	for _, a := range members(&next.now) {
		d.alive[a], d.class[a] = next.now.End, next.class
	}
	for _, a := range old.now.Device.Addresses {
		if !slices.Contains(next.now.Device.Addresses, a) {
			d.heard = append(d.heard, a)
		}
	}
	switch {
	case next.turn.Next != nil: // what the old key sends proves nothing about the next
		d.heard = append(d.heard, next.now.Device.Addresses...)
	case old.now.ID == "" && p.devices.met[next.turn.Key]: // it was heard of
		d.heard = append(d.heard, next.now.Device.Addresses...)
	case old.now.ID == "":
		d.await = next.now.Device.Addresses
	}
	return d
}

// past is what the ways of old that are shut counted, with what was past before.
func (p *Plane) past(old *session, shut []way) reach.Counters {
	c := p.count(shut)
	return reach.Counters{Rx: old.past.Rx + c.Rx, Tx: old.past.Tx + c.Tx}
}

// count asks the kernel for the bytes of some ways.
func (p *Plane) count(list []way) (c reach.Counters) {
	var out, back [][]byte
	for _, w := range list {
		if p.firewall.ways[w] {
			o, b := w.out(), w.back()
			out, back = append(out, o[:]), append(back, b[:])
		}
	}
	for _, side := range []struct {
		set  string
		keys [][]byte
		sum  *uint64
	}{{p.firewall.sets.toDevice.Name, out, &c.Tx}, {p.firewall.sets.fromDevice.Name, back, &c.Rx}} {
		found, err := p.counter.read(side.set, side.keys)
		if err != nil {
			p.cfg.Logger.Warn("counters", zap.Error(err))
		}
		for _, e := range found {
			*side.sum += e.bytes
		}
	}
	return c
}

func members(v *reach.Session) []netip.Addr {
	list := slices.Clone(v.Device.Addresses)
	for _, o := range v.Operators {
		list = append(list, o.Address)
	}
	return list
}

// promote gives the session's addresses to the device's next key, and ends the one before.
func (p *Plane) promote(id string, key [32]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[id]
	if p.closed || s == nil {
		return
	}
	before, ok := s.turn.Done(key)
	if !ok {
		return
	}
	// First the old key goes, whose packets would be a proof, and the new one comes last,
	// whose only packet may be the one that is answered.
	var gone, come change
	gone.remove(before)
	come.add(key, s.now.Device.Addresses...)
	delete(p.turning, id)
	err := p.devices.apply(&gone)
	if err == nil {
		err = p.firewall.apply(&delta{await: s.now.Device.Addresses}, time.Now())
	}
	if err == nil {
		err = p.devices.apply(&come)
	}
	if err != nil {
		p.cfg.Logger.Error("a device's next key", zap.String("session", id), zap.Error(err))
		p.remove(id)
		return
	}
	p.await(s.now.Device.Addresses, time.Now())
}

// Remove ends a session at once, live connections included, and returns its
// counters; zero ones for a session unknown.
func (p *Plane) Remove(id string) reach.Counters {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.remove(id)
}

func (p *Plane) remove(id string) reach.Counters {
	p.ledger.Remove(id)
	s := p.sessions[id]
	if s == nil {
		return reach.Counters{}
	}
	s.turn.Stop()
	delete(p.sessions, id)
	delete(p.turning, id)
	return p.clear(id, s)
}

// clear takes out of the kernel what of s stands there, and returns its counters.
func (p *Plane) clear(id string, s *session) reach.Counters {
	// The door first, then the count, which nothing changes any more.
	d := &delta{alive: make(map[netip.Addr]time.Time), class: make(map[netip.Addr]uint16), heard: s.now.Device.Addresses}
	for _, a := range members(&s.now) {
		d.alive[a], d.class[a] = time.Time{}, 0
	}
	p.attempt(id, p.firewall.apply(d, time.Now()))
	last := p.past(s, s.ways)
	p.attempt(id, p.firewall.apply(&delta{shut: s.ways}, time.Now()))
	p.shaper.end(s.class)
	var devices, operators change
	for _, key := range s.turn.Keys() {
		devices.remove(key)
	}
	for _, o := range s.now.Operators {
		operators.remove(o.Key)
		p.links.unroute(o.Address)
	}
	p.attempt(id, p.devices.apply(&devices))
	p.attempt(id, p.operators.apply(&operators))
	return last
}

// attempt logs what of a removal failed: the rest of it goes on.
func (p *Plane) attempt(session string, err error) {
	if err != nil {
		p.cfg.Logger.Error("a session's end", zap.String("session", session), zap.Error(err))
	}
}
