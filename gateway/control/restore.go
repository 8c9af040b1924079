package control

import (
	"context"
	"fmt"
	"net/netip"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/machine"
	"github.com/boothwire/boothwire/gateway/control/internal/pool"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// recover is restore, with the lead kept meanwhile. What is due at once waits until all
// of it is read.
func (c *Control) recover(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lead == nil {
		return c.restore(ctx)
	}
	return c.lead.during(ctx, c.store, c.restore)
}

// restore reads everything back that the process before left.
func (c *Control) restore(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		c.restoreDevices, c.restoreNodes, c.restoreSessions, c.restoreAddresses, c.restoreTokens, c.restoreAudit, c.restoreRevoked,
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("control: %w", err)
		}
	}
	return nil
}

func (c *Control) restoreDevices(ctx context.Context) error {
	rows, err := c.store.Devices(ctx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		d, err := readDevice(r)
		if err != nil {
			return fmt.Errorf("device %s: %w", r.ID, err)
		}
		c.devices[r.ID] = d
	}
	boots, err := c.store.Boots(ctx)
	for _, b := range boots {
		if d := c.devices[b.Device]; d != nil {
			d.ended = append(d.ended, b.Boot)
		}
	}
	return err
}

func readDevice(r store.Device) (*device, error) {
	d := &device{row: r}
	var err error
	if d.key, err = keys.ParseIdentityKey(r.Key); err != nil {
		return nil, err
	}
	for _, s := range r.Prekeys {
		k, err := keys.ParsePublicKey(s)
		if err != nil {
			return nil, err
		}
		d.prekeys = append(d.prekeys, k)
	}
	d.row.Prekeys, d.row.Checks = nil, ""
	d.checked(r.Checks)
	return d, nil
}

func (c *Control) restoreNodes(ctx context.Context) error {
	rows, err := c.store.Nodes(ctx)
	for _, r := range rows {
		n := &node{row: r, sessions: make(map[string]*session), standing: newStanding()}
		n.proof, _ = netip.ParseAddr(r.Proof)
		if r.Identity != "" {
			if n.identity, err = keys.ParseIdentityKey(r.Identity); err != nil {
				return fmt.Errorf("node %s: %w", r.Name, err)
			}
			if n.key, err = keys.ParsePublicKey(r.Key); err != nil {
				return fmt.Errorf("node %s: %w", r.Name, err)
			}
		}
		for _, e := range r.Endpoints {
			if a, err := netip.ParseAddrPort(e); err == nil {
				n.endpoints = append(n.endpoints, a)
			}
		}
		for _, e := range r.Operators {
			if a, err := netip.ParseAddrPort(e); err == nil {
				n.operators = append(n.operators, a)
			}
		}
		c.nodes[r.Name] = n
	}
	return err
}

// restoreSessions finds the sessions about which something is left to be done.
// Their machines go on in resume, when there are lines.
func (c *Control) restoreSessions(ctx context.Context) error {
	rows, err := c.store.OpenSessions(ctx)
	if err != nil {
		return err
	}
	now := c.cfg.Now()
	for _, r := range rows {
		d := c.devices[r.Device]
		if d == nil {
			// The device was deleted; its sessions were closed, and the rest is the node's.
			d = &device{row: store.Device{ID: r.Device}}
		}
		s := &session{
			id: r.ID, dev: d, node: c.nodes[r.Node], name: r.Node, opened: r.Opened, closed: r.Closed, lifetime: r.Lifetime,
			reason: r.Reason, ticket: r.Ticket, user: User{Name: r.User, Role: Role(r.Role)}, bare: r.Bare, boot: r.Boot,
			cut: r.Cut, nodes: r.Nodes, path: r.Path, rtt: r.RTT, rx: r.Rx, tx: r.Tx, endToEnd: r.EndToEnd, longest: r.Longest,
			pathWhy: r.PathWhy, spent: PathTimes{r.Direct, r.Relay}, samples: readSamples(r.Samples),
		}
		if r.Grant != "" {
			s.grant = []byte(r.Grant)
		}
		s.m = machine.New(r.Ends)
		s.m.Alone = r.EndToEnd
		s.m.State, s.m.Code, s.m.Why = machine.State(r.State), r.Code, r.Why
		s.m.Rev, s.m.Installed, s.m.Acked, s.m.Ready, s.m.Proved = r.Rev, r.Installed, r.Acked, r.Ready, r.Proved
		if s.m.Proved {
			s.carrier = s.node
		}
		s.prekey, _ = keys.ParsePublicKey(r.Prekey)
		s.address, _ = netip.ParseAddr(r.Address)
		for _, o := range r.Operators {
			s.operators = append(s.operators, readOperator(o))
		}
		if s.node != nil && s.m.Rev > 0 && !s.m.Ended() {
			s.legs = c.nodeLegs(pair{s.id, s.m.Rev, [2]keys.PublicKey{s.prekey, s.node.key}, s.m.Ends}, s.operators)
		}
		for _, p := range r.Steps {
			s.ladder = append(s.ladder, client.Step{Stage: signaling.Stage(p.Stage), After: client.Micros(p.After.Microseconds()), Code: p.Code, By: p.By})
		}
		s.m.Woken = hasStep(s, stageWoken)
		c.track(s)
		s.m.Sync()
		switch o := d.session; {
		case s.m.Ended():
			d.closing = append(d.closing, s)
		case o != nil: // the rows have the earlier first
			o.m.Close(now, keys.ReasonClosed, "its end was not written")
			o.m.Take() // said when it is resumed
			c.detach(o)
			fallthrough
		default:
			d.session = s
		}
		c.rearm(s, now)
	}
	if len(rows) > 0 {
		c.log.Info("sessions found again", zap.Int("count", len(rows)))
	}
	return nil
}

// resume has the restored sessions go on; mu is held.
func (c *Control) resume() {
	now := c.cfg.Now()
	for _, s := range sorted(c.sessions) {
		if s.m.Resumes() {
			s.m.Restored(now)
			c.act(s, now)
		}
	}
}

func (c *Control) restoreAddresses(ctx context.Context) error {
	rows, err := c.store.Addresses(ctx)
	now := c.cfg.Now()
	for _, r := range rows {
		a, err := netip.ParseAddr(r.Address)
		if err != nil {
			return fmt.Errorf("address: %w", err)
		}
		// A node's is its own for good; what an open session uses is taken below.
		c.pool.Load(pool.Address{Addr: a, Kind: pool.Kind(r.Kind), Holder: r.Holder, Used: r.Used}, pool.Kind(r.Kind) == pool.Node)
	}
	for _, s := range c.sessions {
		if s.address.IsValid() {
			_, _ = c.pool.Take(pool.Device, s.dev.row.ID, now)
		}
		for _, o := range s.present() {
			if o.address.IsValid() {
				_, _ = c.pool.Take(pool.Operator, o.id, now)
			}
		}
	}
	return err
}

func (c *Control) restoreTokens(ctx context.Context) error {
	rows, err := c.store.Tokens(ctx)
	for _, r := range rows {
		c.tokens[r.Hash] = r
	}
	return err
}

func (c *Control) restoreRevoked(ctx context.Context) error {
	rows, err := c.store.ClosedSince(ctx, c.cfg.Now().Add(-c.revoked.keep))
	for _, r := range rows {
		c.revoked.add(r.ID, r.Closed)
	}
	return err
}

func (c *Control) restoreAudit(ctx context.Context) (err error) {
	c.audit.last, err = c.store.LastAudit(ctx)
	return err
}
