package userspace

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// peers is what of a session stands in wireguard-go: the peer of its device, of
// each operator, and, while the device changes its key, one more, whose first packet
// is its proof and is not forwarded.
type peers struct {
	now  reach.Session
	turn reach.Turn // of the device
}

// Set installs a session, or changes the one of that id: peers that stay keep
// their keys in use and their endpoints. When it fails, nothing of the session
// is left.
func (p *Plane) Set(s reach.Session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	if err := p.table.Set(&s); err != nil {
		return err
	}
	if n, ok := p.table.Number(s.ID); ok {
		p.router.queue.set(n, s.Up, s.Down)
	}
	s.Operators = slices.Clone(s.Operators)
	s.Device.Addresses = slices.Clone(s.Device.Addresses)
	var c change
	old := p.sessions[s.ID]
	live := &peers{now: s, turn: reach.Turn{Key: s.Device.Key}}
	if old != nil {
		for _, o := range old.now.Operators {
			if !slices.ContainsFunc(s.Operators, func(n reach.Operator) bool { return n.Key == o.Key }) {
				c.remove(o.Key)
			}
		}
		var dropped *[32]byte
		live.turn, dropped = old.turn.To(s.Device.Key, p.cfg.Patience, func(next [32]byte) { p.promote(s.ID, next) })
		if dropped != nil {
			c.remove(*dropped)
			p.watch.forget(*dropped)
		}
	}
	c.add(live.turn.Key, s.Device.Addresses...)
	if live.turn.Next != nil {
		c.add(*live.turn.Next)
	}
	for _, o := range s.Operators {
		c.add(o.Key, o.Address)
	}
	if err := p.device.IpcSet(c.String()); err != nil {
		p.sessions[s.ID] = live
		p.remove(s.ID)
		return fmt.Errorf("userspace: set peers: %w", err)
	}
	p.sessions[s.ID] = live
	p.watch.add(owner{session: s.ID, key: live.turn.Key, leaving: live.turn.Next != nil})
	if live.turn.Next != nil {
		p.watch.add(owner{session: s.ID, key: *live.turn.Next, pending: true})
		p.table.SetProved(s.ID, true) // the old key proves nothing about the new
	}
	return nil
}

// promote gives the session's addresses to the device's next key, and ends the one before.
func (p *Plane) promote(id string, key [32]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[id]
	if s == nil {
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
	p.watch.forget(before)
	err := p.device.IpcSet(gone.String())
	if err == nil {
		p.table.SetProved(id, false)
		err = p.device.IpcSet(come.String())
	}
	if err != nil {
		p.remove(id)
		return
	}
	p.watch.add(owner{session: id, key: key})
}

// Remove ends a session at once, live flows included, and returns its counters;
// zero ones for a session unknown.
func (p *Plane) Remove(id string) reach.Counters {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.remove(id)
}

func (p *Plane) remove(id string) reach.Counters {
	n, known := p.table.Number(id)
	last := p.table.Remove(id)
	if known {
		p.router.queue.remove(n)
	}
	s := p.sessions[id]
	if s == nil {
		return last
	}
	s.turn.Stop()
	delete(p.sessions, id)
	var c change
	for _, key := range s.turn.Keys() {
		c.remove(key)
		p.watch.forget(key)
	}
	for _, o := range s.now.Operators {
		c.remove(o.Key)
	}
	// Taking out peers fails only on text that does not parse.
	_ = p.device.IpcSet(c.String())
	return last
}

// change is one IpcSet: removals first, so that addresses are free when others
// take them. It names no endpoint and no keepalive: peers come to the node, but for a
// call after a restart.
type change struct{ removed, added strings.Builder }

func (c *change) remove(key [32]byte) {
	fmt.Fprintf(&c.removed, "public_key=%s\nremove=true\n", hex.EncodeToString(key[:]))
}

func (c *change) add(key [32]byte, addresses ...netip.Addr) {
	fmt.Fprintf(&c.added, "public_key=%s\nreplace_allowed_ips=true\n", hex.EncodeToString(key[:]))
	for _, a := range addresses {
		fmt.Fprintf(&c.added, "allowed_ip=%s\n", netip.PrefixFrom(a, a.BitLen()))
	}
}

func (c *change) String() string { return c.removed.String() + c.added.String() }
