package control

import (
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// requested takes a device's signed request: for a session, or, with one, for a
// fresh key in it. mu is held.
func (c *Control) requested(d *device, r requestPayload, now time.Time) {
	if s := d.session; r.Session != "" {
		if s == nil || s.id != r.Session || s.m.Rev == 0 {
			c.deny(d, r.Nonce, keys.ReasonClosed)
			return
		}
		c.rekey(s, r, d.row.Boot)
		return
	}
	if s := d.session; s != nil {
		if s.bare && s.name == r.Server && s.m.Rev > 0 && s.m.Acked == 0 {
			// Its first grant did not get there, and the device has let go of that key.
			c.rekey(s, r, d.row.Boot)
			return
		}
		c.deny(d, r.Nonce, keys.ReasonBusy)
		return
	}
	if c.cfg.Kind == KindEndToEnd || !slices.Contains(c.cfg.Bare.Nodes, r.Server) {
		c.deny(d, r.Nonce, keys.ReasonNodeNotAllowed)
		return
	}
	if !d.opens.take(now, opensRate, opensBurst) {
		c.deny(d, r.Nonce, keys.ReasonFlood)
		return
	}
	if !c.begin() {
		return
	}
	go func() {
		defer c.work.Done()
		c.openBare(d, r)
	}()
}

// Each session that a device asks for is rows for good, whatever comes of it.
const (
	opensBurst = 8
	opensRate  = 1.0 / 15 // a second
)

// maxRekeys is how many fresh keys a session gets at once; each minute gives one
// more. A clock is set once or twice, and each key stays with the node until the
// session's end.
const maxRekeys = 4

// spare reports whether d may be given what it asks for now: a fresh key may have to
// wait.
func (d *device) spare(r requestPayload, now time.Time) bool {
	s := d.session
	return s == nil || r.Session == "" && !s.bare || s.rekeys < maxRekeys+int(now.Sub(s.opened)/time.Minute)
}

// rekey makes the next revision of s with the key in r.
func (c *Control) rekey(s *session, r requestPayload, boot string) {
	s.fresh, s.freshBoot, s.re = r.Prekey, boot, r.Nonce
	s.rekeys++
	if !c.begin() {
		return
	}
	go func() {
		defer c.work.Done()
		if err := c.issue(s, change{fresh: true}); err != nil {
			c.log.Warn("no fresh key", zap.String("session", s.id), zap.Error(err))
			c.mu.Lock()
			defer c.mu.Unlock()
			c.deny(s.dev, r.Nonce, codeOf(err, "internal"))
		}
	}()
}

// openBare opens the session that a device asks for on a minimal command.
func (c *Control) openBare(d *device, r requestPayload) {
	s, err := c.bareSession(d, r)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.deny(d, r.Nonce, codeOf(err, "refused"))
		return
	}
	c.mu.Lock()
	c.noteOf(s, store.Audit{Who: d.row.ID, What: auditRequest, Device: d.row.ID, Session: s.id, Node: s.name})
	c.mu.Unlock()
	c.first(s, change{fresh: true})
}

func (c *Control) bareSession(d *device, r requestPayload) (*session, error) {
	if c.cfg.Bare.Allow != nil {
		if err := c.cfg.Bare.Allow(c.ctx, d.row.ID, r.Server); err != nil {
			return nil, fail(http.StatusForbidden, codeOf(err, "refused"), err.Error())
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.devices[d.row.ID] != d:
		return nil, errNotFound
	case d.session != nil:
		return nil, fail(http.StatusConflict, keys.ReasonBusy, "another session of the device is open")
	}
	n, err := c.choose(d, r.Server)
	if err != nil {
		return nil, err
	}
	s := c.newSession(d, n, c.cfg.Bare.Lifetime)
	s.bare, s.named, s.user = true, true, User{Name: d.row.ID}
	s.fresh, s.freshBoot, s.re = r.Prekey, d.row.Boot, r.Nonce
	for _, o := range c.cfg.Bare.Standing {
		ports := o.Ports
		if len(ports) == 0 {
			ports = []keys.Port{keys.TCP(22)}
		}
		s.operators = append(s.operators, operator{id: keys.NewID(), user: o.User, key: o.Key, ports: ports, added: s.opened})
	}
	c.counts.opened.Add(1)
	return s, nil
}

// deny tells a device, signed, that its request is refused; mu is held.
func (c *Control) deny(d *device, nonce, code string) {
	d.denied = denial{nonce, code}
	if c.audit.count(c.store, c.cfg.Now(), store.Audit{Who: d.row.ID, What: auditRequest, Device: d.row.ID, Code: code}, 1) {
		c.log.Warn("request refused", zap.String("device", d.row.ID), zap.String("code", code))
	}
	token, err := c.sign(keys.TypeDown, downPayload{Device: d.row.ID, Re: nonce, Why: code})
	if err != nil {
		c.log.Error("down", zap.Error(err))
		return
	}
	c.send(d, false, signaling.Command{ID: "no." + nonce, Action: signaling.Down, Token: token})
}
