package userspace

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// peers is what of a session stands in wireguard-go: the peer of its device, of
// each operator, and, while the device changes its key, one more.
//
//	device's key changes: pending peer added, without addresses
//	pending sends anything, or patience ends: addresses move to it, the old goes
//
// An address has one peer in wireguard-go, so a pending one cannot have it yet;
// the first packet under the new key is its proof and is not forwarded.
type peers struct {
	now     reach.Session // its Device.Key is the one that has the addresses
	pending *[32]byte     // the device's next key
	timer   *time.Timer   // ends the patience with it
}

func (s *peers) stop() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
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
	live := &peers{now: s}
	if old != nil {
		for _, o := range old.now.Operators {
			if !slices.ContainsFunc(s.Operators, func(n reach.Operator) bool { return n.Key == o.Key }) {
				c.remove(o.Key)
			}
		}
		p.carry(&c, old, live)
	}
	c.add(live.now.Device.Key, live.now.Device.Addresses...)
	if live.pending != nil {
		c.add(*live.pending)
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
	p.watch.add(s.ID, live.now.Device.Key, false)
	if live.pending != nil {
		p.watch.add(s.ID, *live.pending, true)
		p.table.SetProved(s.ID, true) // the old key proves nothing about the new
	}
	return nil
}

// carry decides which of the device's keys live on when old becomes live.
func (p *Plane) carry(c *change, old, live *peers) {
	wanted := live.now.Device.Key
	switch {
	case old.pending != nil && *old.pending == wanted:
		live.now.Device.Key, live.pending, live.timer = old.now.Device.Key, old.pending, old.timer
		return
	case old.pending != nil:
		old.stop()
		c.remove(*old.pending)
		p.watch.forget(*old.pending)
	}
	if old.now.Device.Key == wanted {
		return
	}
	live.now.Device.Key = old.now.Device.Key
	live.pending = &wanted
	id := live.now.ID
	live.timer = time.AfterFunc(p.cfg.Patience, func() { p.promote(id, wanted) })
}

// promote gives the session's addresses to its pending key, and ends the old.
func (p *Plane) promote(id string, key [32]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[id]
	if s == nil || s.pending == nil || *s.pending != key {
		return
	}
	s.stop()
	var c change
	c.remove(s.now.Device.Key)
	c.add(key, s.now.Device.Addresses...)
	p.watch.forget(s.now.Device.Key)
	s.now.Device.Key, s.pending = key, nil
	if err := p.device.IpcSet(c.String()); err != nil {
		p.remove(id)
		return
	}
	p.table.SetProved(id, false)
	p.watch.add(id, key, false)
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
	s.stop()
	delete(p.sessions, id)
	var c change
	c.remove(s.now.Device.Key)
	p.watch.forget(s.now.Device.Key)
	if s.pending != nil {
		c.remove(*s.pending)
		p.watch.forget(*s.pending)
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
