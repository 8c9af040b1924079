package control

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/machine"
	"github.com/boothwire/boothwire/gateway/control/internal/pool"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
)

// change is what a revision changes.
type change struct {
	add      *operator
	remove   []string      // opaque ids
	lifetime time.Duration // from the session's opening; 0: as before
	longest  time.Duration // of an end-to-end session; 0: as before
	fresh    bool          // to the prekey in session.fresh
	batch    bool          // to a prekey of the device's batch
	to       *node         // where the session moves to; nil: it stays
	again    bool          // the node has begun again, and so has the device
}

// errNoPrekey says that the device has to be asked.
var errNoPrekey = errors.New("control: no one-time key at hand")

// maxTries bounds how many addresses are tried that turn out to be somebody's.
const maxTries = 16

// denyAddress has the pool let an address alone that the database does not give.
func (c *Control) denyAddress(taken *store.AddressTaken) {
	c.log.Error("an address is somebody's", zap.String("address", taken.Address))
	c.mu.Lock()
	defer c.mu.Unlock()
	if a, err := netip.ParseAddr(taken.Address); err == nil {
		c.pool.Deny(a, c.cfg.Now())
	}
}

// codeNoAddress is the code of a pool that has none left.
const codeNoAddress = "no_address"

// codeNoDatabase is the code of what cannot be opened or changed because it cannot be
// written.
const codeNoDatabase = "no_database"

// issueTimeout bounds writing a grant: a database that takes longer is down.
const issueTimeout = 10 * time.Second

// issue makes the next revision of s: signed, written, and then the machine's to
// hand over. A prekey is spent in the transaction that writes the grant.
func (c *Control) issue(s *session, ch change) error {
	s.issuing.Lock()
	defer s.issuing.Unlock()
	for try := 0; ; try++ {
		err := c.issueOnce(s, ch)
		taken, isTaken := errors.AsType[*store.AddressTaken](err)
		switch {
		case isTaken && try < maxTries:
			c.denyAddress(taken)
			continue
		case isTaken:
			return fail(http.StatusServiceUnavailable, codeNoAddress, "no address could be had")
		case errors.Is(err, store.ErrLost), errors.Is(err, store.ErrFenced), errors.Is(err, context.DeadlineExceeded):
			c.log.Error("no grant", zap.String("session", s.id), zap.Error(err))
			return fail(http.StatusServiceUnavailable, codeNoDatabase, "what has to be written first cannot be: the database is away")
		case !errors.Is(err, store.ErrTaken):
			return err
		}
		if !ch.batch {
			return fail(http.StatusConflict, keys.ReasonUsedPrekey, "the device's key was used before")
		}
	}
}

func (c *Control) issueOnce(s *session, ch change) error {
	now := c.cfg.Now()
	ch.to = c.wayOf(s, ch)
	d, err := c.draft(s, ch, now)
	if err != nil {
		return err
	}
	return c.enact(s, ch, d, now)
}

// enact signs and writes a draft, and hands it to the machine.
func (c *Control) enact(s *session, ch change, d *draft, now time.Time) error {
	handed := false
	defer func() {
		if !handed {
			c.undo(s, d)
		}
	}()
	token, err := c.signed(s, d)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, issueTimeout)
	defer cancel()
	err = c.store.Do(ctx, func(tx *store.Tx) error {
		if d.spend {
			if err := tx.SpendPrekey(d.grant.Prekey.String(), d.grant.Device, s.id, now); err != nil {
				return err
			}
		}
		if err := takeAll(tx, d.addresses); err != nil {
			return err
		}
		for _, r := range append(d.before, record{d.row, d.notes}) {
			if err := r.put(tx); err != nil {
				return err
			}
		}
		return tx.AddGrant(s.id, d.grant.Rev, d.grant.Far.Node, string(token), now)
	})
	if err != nil {
		return err
	}
	d.written = true
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.m.Ended() {
		return fail(http.StatusConflict, keys.ReasonClosed, "the session is over")
	}
	if s.prekey != d.grant.Prekey {
		s.offers.forget() // they are sealed with the key before
	}
	handed = true
	s.operators, s.lifetime, s.longest, s.grant, s.address = d.operators, d.lifetime, d.longest, token, d.grant.Addresses[0]
	s.legs = d.legs
	s.entrust(d.grant.Far.Node)
	if len(ch.remove) > 0 {
		s.cut = d.grant.Rev
	}
	s.prekey, s.boot, s.re = d.grant.Prekey, d.grant.Boot, d.grant.Re
	now = c.cfg.Now()
	s.own(client.ByControl, stageGranted, now)
	what := machine.Terms
	switch {
	case ch.to != nil && ch.to != s.node:
		what = machine.Move
		c.rehome(s, ch.to, d.grant.Rev)
	case d.spend || ch.again:
		what = machine.Shake
	}
	s.m.Issued(now, d.grant.Rev, d.grant.End, what)
	if ch.to != nil && ch.to == s.carrier {
		s.m.Stays()
	}
	c.act(s, now)
	return nil
}

// draft is a revision that is not signed yet.
type draft struct {
	grant     keys.Grant
	spend     bool
	operators []operator
	lifetime  time.Duration
	longest   time.Duration
	legs      []keys.Relay // of the node
	addresses []pool.Address
	row       store.Session
	notes     []store.Audit
	before    []record // of the device, that are over
	written   bool
}

func (c *Control) draft(s *session, ch change, now time.Time) (*draft, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.m.Ended():
		return nil, fail(http.StatusConflict, keys.ReasonClosed, "the session is over")
	case s.node == nil && !s.endToEnd, ch.to != nil && c.nodes[ch.to.row.Name] != ch.to:
		return nil, fail(http.StatusServiceUnavailable, machine.CodeNodeUnreachable, "the session's node is gone")
	}
	at := s.node
	if ch.to != nil {
		at = ch.to
	}
	d := &draft{lifetime: s.lifetime, longest: s.longest, operators: slices.Clone(s.operators)}
	if ch.longest > 0 {
		d.longest = ch.longest
	}
	if ch.lifetime > 0 {
		d.lifetime = ch.lifetime
	}
	prekey, boot, re := s.prekey, s.boot, s.re
	switch dev := s.dev; {
	case ch.fresh && !s.fresh.IsZero():
		prekey, boot, d.spend = s.fresh, s.freshBoot, true
	case ch.batch:
		if len(dev.prekeys) == 0 {
			return nil, errNoPrekey
		}
		prekey, boot, d.spend = dev.prekeys[0], dev.row.Boot, true
		dev.prekeys = dev.prekeys[1:]
		c.save(dev)
	case prekey.IsZero():
		return nil, errNoPrekey
	}
	for i := range d.operators {
		if slices.Contains(ch.remove, d.operators[i].id) {
			d.operators[i].removed = now
		}
	}
	if ch.add != nil {
		if c.cfg.Exclusive && len(s.present()) > 0 {
			// Asked again: whoever was first had no grant yet when this one came.
			return nil, fail(http.StatusConflict, keys.ReasonBusy, "another session of the device is open")
		}
		if len(s.present()) >= maxOperators {
			return nil, fail(http.StatusConflict, "full", "the session has as many operators as it can")
		}
		if slices.ContainsFunc(d.operators, func(o operator) bool { return o.key == ch.add.key }) || ch.add.key == prekey {
			return nil, fail(http.StatusConflict, "key_in_use", "an operator's key is good for one way in")
		}
		o := *ch.add
		o.added = now
		d.operators = append(d.operators, o)
	}
	if err := c.addresses(s, d, now); err != nil {
		return nil, err
	}
	d.grant = keys.Grant{
		Session: s.id, Rev: s.m.Rev + 1, Device: s.dev.row.ID, Boot: boot, Re: re, Prekey: prekey,
		Addresses: []netip.Addr{s.address}, Operators: []keys.Operator{}, STUN: c.cfg.STUN, Up: c.cfg.Up, Down: c.cfg.Down,
		Lifetime: d.lifetime, Idle: c.cfg.Idle, End: wholeSecond(s.opened.Add(d.lifetime)),
	}
	if s.endToEnd {
		if err := d.between(); err != nil {
			return nil, err
		}
	} else {
		d.grant.Far = keys.FarEnd{Node: at.row.Name, Key: at.key, Endpoints: at.endpoints, OperatorEndpoints: at.operators, Proof: at.proof}
	}
	for _, o := range d.operators {
		if o.removed.IsZero() {
			d.grant.Operators = append(d.grant.Operators, keys.Operator{ID: o.id, Key: o.key, Address: o.address, Ports: o.ports})
		}
	}
	d.row, d.notes, d.before = s.row(), s.notes, s.before()
	d.row.Longest = d.longest
	if at != nil {
		d.row.Node, d.row.Proved = at.row.Name, s.m.Proved && at == s.node
	}
	d.row.Rev, d.row.Ends, d.row.Lifetime, d.row.Boot, d.row.Prekey = d.grant.Rev, d.grant.End, d.lifetime, boot, prekey.String()
	d.row.Address = s.address.String()
	d.row.Operators = nil
	for _, o := range d.operators {
		d.row.Operators = append(d.row.Operators, o.row())
	}
	return d, nil
}

// addresses gives the device and every operator theirs.
func (c *Control) addresses(s *session, d *draft, now time.Time) error {
	exhausted := func(err error) error {
		c.log.Error("no address", zap.Error(err))
		return fail(http.StatusServiceUnavailable, codeNoAddress, err.Error()+"; a larger pool has more")
	}
	a, err := c.pool.Take(pool.Device, s.dev.row.ID, now)
	if err != nil {
		return exhausted(err)
	}
	s.address = a.Addr
	d.addresses = append(d.addresses, a)
	for i := range d.operators {
		o := &d.operators[i]
		switch {
		case o.removed.IsZero() && !o.address.IsValid():
			if !c.shares.take(o.user, c.pool.Size(pool.Operator), now) {
				return fail(http.StatusServiceUnavailable, codeNoAddress, "the user took most of the addresses lately; others need what is left")
			}
			a, err := c.pool.Take(pool.Operator, o.id, now)
			if err != nil {
				c.shares.back(o.user)
				return exhausted(err)
			}
			o.address = a.Addr
			d.addresses = append(d.addresses, a)
		case o.removed.Equal(now) && o.address.IsValid():
			if a, ok := c.pool.Release(pool.Operator, o.id, now); ok {
				d.addresses = append(d.addresses, a)
			}
		}
	}
	return nil
}

// undo takes back what a revision took that came to nothing: the addresses of operators
// who are not in s, of which each open that fails would else cost the pool one, and gives
// back those of operators who are in it still. Where s has ended meanwhile its row is
// written again, for the draft's may have come later.
func (c *Control) undo(s *session, d *draft) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range d.addresses {
		is := func(o operator) bool { return o.id == a.Holder }
		switch {
		case a.Kind != pool.Operator:
		case slices.ContainsFunc(s.present(), is):
			if !s.m.Over() { // he was to be removed
				_, _ = c.pool.Take(a.Kind, a.Holder, a.Used)
			}
		case d.written:
			c.pool.Release(a.Kind, a.Holder, c.cfg.Now()) // the database has it rest
		default:
			c.pool.Return(a.Kind, a.Holder)
			if i := slices.IndexFunc(d.operators, is); i >= 0 {
				c.shares.back(d.operators[i].user)
			}
		}
	}
	if s.m.Ended() {
		c.store.Later("session/"+s.id, s.record().put)
	}
}

// reissue makes the revision with the key that the device has just given.
func (c *Control) reissue(s *session) {
	err := c.issue(s, change{fresh: true})
	if err == nil {
		return
	}
	c.log.Warn("no grant", zap.String("session", s.id), zap.Error(err))
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	s.m.Unissued(now, codeOf(err, machine.CodeInternal), whyOf(err))
	c.act(s, now)
}

// fail makes a refusal of the API.
func fail(status int, code, detail string) error {
	return client.Refuse(status, code, detail)
}
