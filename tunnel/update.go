package tunnel

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/boothwire/boothwire/internal/packet"
)

// Update makes the tunnel what a later grant says, while traffic goes on. cfg is
// complete, as for Up. Operators, ports, lifetime (the new total, from Up), idle
// time, paths and services change in place; so does the key, with the far end put
// in anew and a fresh handshake at once. Another far end is a move: it is put in
// beside the old one with its proof address alone, and when an echo through it
// came back, the addresses move over in one step and the old one goes. Update
// then waits for that proof, and when ctx ends first the old far end stays and
// the tunnel is as it was; only its known addresses are tried meanwhile. A move with another key cannot keep the old far end:
// its traffic stops until the new one is proved. The tunnel's own addresses, its
// role, mode and socket do not change; Update returns an error when the addresses
// do. One Update runs at a time, and others wait.
func (t *Tunnel) Update(ctx context.Context, cfg *Config) error {
	c, err := cfg.copied()
	if err != nil {
		return err
	}
	old := t.config()
	if !slices.Equal(c.Addresses, old.Addresses) {
		return errors.New("tunnel: the addresses of a tunnel do not change")
	}
	c.Role, c.Mode, c.Socket, c.TUN, c.hooks = old.Role, old.Mode, old.Socket, old.TUN, old.hooks

	select {
	case t.updating <- struct{}{}:
		defer func() { <-t.updating }()
	case <-ctx.Done():
		return ctx.Err()
	case <-t.ctx.Done():
		return t.reason()
	}
	old = t.config()
	fresh := !c.Key.Equal(old.Key)
	moved := c.Far.Key != old.Far.Key
	switch {
	case moved && !fresh && !c.Swap && c.Far.Proof != old.Far.Proof:
		return t.move(ctx, c)
	default:
		return t.do(ctx, func() error { return t.replace(c, fresh || moved) })
	}
}

// replace takes c over in place; anew puts the far end in again.
func (t *Tunnel) replace(c *Config, anew bool) error {
	f := t.far
	if t.nic != nil {
		if err := t.nic.SetFar(c.Far.Allowed); err != nil {
			return &DriverError{"adapter", err}
		}
	}
	lines := publicLine(c.Far.Key) + "update_only=true\n" + allowedLines(c.Far.Allowed)
	if anew {
		// This end's key first: the protocol wants it before any peer.
		lines = keyLine(c.Key) + removeLines(f.peer.Key)
		f.peer = c.Far
		lines += f.addLines(c.Far.Allowed)
	}
	if err := t.configure(lines); err != nil {
		return err
	}
	f.peer, f.own = c.Far, from(c.Addresses, c.Far.Proof)
	t.adopt(c, anew)
	if anew {
		f.dog.Reset()
	} else {
		// Control also sends a later grant when the far end has lost the session.
		f.dog.Suspect(t.gate.Now())
	}
	return nil
}

// adopt makes c the tunnel's config, with the rules, times and paths that it says;
// anew: all paths are to be opened again.
func (t *Tunnel) adopt(c *Config, anew bool) {
	rules := c.rules(c.Far)
	t.filter.SetRules(rules)
	t.mu.Lock()
	t.cfg = c
	t.end = max(c.Lifetime, 0)
	t.mu.Unlock()
	if t.stack != nil && c.Role == Device {
		t.stack.Recheck(func(remote netip.Addr, port uint16) bool { return rules.Reaches(remote, packet.TCP, port) })
	}
	t.idle = c.Idle
	t.takePaths(c, anew)
	t.setRoutes()
}

// move proves another far end beside the old one, then moves over.
func (t *Tunnel) move(ctx context.Context, c *Config) error {
	var next *far
	err := t.do(ctx, func() error {
		if t.nic != nil {
			if err := t.nic.SetFar(union(t.cfg.Far.Allowed, c.Far.Allowed)); err != nil {
				return &DriverError{"adapter", err}
			}
		}
		next = t.newFar(c)
		if err := t.configure(next.addLines([]netip.Addr{c.Far.Proof})); err != nil {
			t.bind.RemovePeer(next.id)
			return err
		}
		t.next = next
		t.filter.SetRules(t.cfg.rules(t.cfg.Far, c.Far))
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case <-next.proved:
		return t.do(context.WithoutCancel(ctx), func() error { return t.moveOver(c) })
	case <-t.ctx.Done():
		return t.reason()
	case <-ctx.Done():
	}
	err = t.do(context.WithoutCancel(ctx), func() error {
		t.next = nil
		t.filter.SetRules(t.cfg.rules(t.cfg.Far))
		err := t.configure(removeLines(c.Far.Key))
		t.bind.RemovePeer(next.id)
		if t.nic != nil {
			err = errors.Join(err, t.nic.SetFar(t.cfg.Far.Allowed))
		}
		return err
	})
	return errors.Join(ctx.Err(), err)
}

// moveOver gives the proved far end all addresses and takes the old one out, in
// one step of WireGuard's.
func (t *Tunnel) moveOver(c *Config) error {
	old, next := t.far, t.next
	lines := publicLine(c.Far.Key) + "update_only=true\n" + allowedLines(c.Far.Allowed) + removeLines(old.peer.Key)
	if err := t.configure(lines); err != nil {
		return err
	}
	t.far, t.next = next, nil
	t.bind.RemovePeer(old.id)
	if t.nic != nil {
		if err := t.nic.SetFar(c.Far.Allowed); err != nil {
			t.tell(Event{Kind: EventWarning, Err: err})
		}
	}
	t.adopt(c, true)
	t.restored(next)
	return nil
}

func union(a, b []netip.Addr) []netip.Addr {
	all := slices.Clone(a)
	for _, x := range b {
		if !slices.Contains(all, x) {
			all = append(all, x)
		}
	}
	return all
}
