package control

import (
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// pair is two keys that may meet at a relay.
type pair struct {
	session string
	rev     int
	ends    [2]keys.PublicKey
	end     time.Time
}

// legs returns the legs of one end of p at all relays, which one token names.
func (c *Control) legs(p pair, leg int) []keys.Relay {
	if len(c.cfg.Relays) == 0 || p.ends[0].IsZero() || p.ends[1].IsZero() {
		return nil
	}
	token, err := c.legToken(p, leg)
	if err != nil {
		c.log.Error("no token for relays", zap.String("session", p.session), zap.Error(err))
		return nil
	}
	list := make([]keys.Relay, len(c.cfg.Relays))
	for i, r := range c.cfg.Relays {
		list[i] = keys.Relay{URL: r.URL, Key: r.Key, Token: string(token)}
	}
	return list
}

func (c *Control) legToken(p pair, leg int) ([]byte, error) {
	t := keys.Token{Session: p.session, Rev: p.rev, Ends: p.ends, Leg: leg, End: p.end}
	for _, r := range c.cfg.Relays {
		t.Relays = append(t.Relays, r.Name)
	}
	if up, down := c.cfg.Up, c.cfg.Down; up > 0 && down > 0 {
		t.Rate = max(up, down)
	}
	token, err := t.Sign(c.signer)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	return token, nil
}

// checkRelays reports why the signer could not let anyone meet at the relays.
func (c *Control) checkRelays() error {
	if len(c.cfg.Relays) == 0 {
		return nil
	}
	a, b := keys.NewPrivateKey(), keys.NewPrivateKey()
	_, err := c.legToken(pair{keys.NewID(), 1, [2]keys.PublicKey{a.Public(), b.Public()}, c.cfg.Now().Add(time.Hour)}, 0)
	return err
}

// The legs of the three kinds of pairs: device and node, operator and node, operator
// and device.
const (
	legFirst  = 0
	legSecond = 1
)

// signed signs the grant of d with as many relays as fit into a command, and makes
// the node's legs.
func (c *Control) signed(s *session, d *draft) ([]byte, error) {
	g := &d.grant
	if s.endToEnd {
		p := pair{g.Session, g.Rev, [2]keys.PublicKey{g.Far.Key, g.Prekey}, wholeSecond(s.opened.Add(d.longest))}
		g.Relays = c.legs(p, legSecond)
	} else {
		p := pair{g.Session, g.Rev, [2]keys.PublicKey{g.Prekey, g.Far.Key}, g.End}
		g.Relays = c.legs(p, legFirst)
		d.legs = c.nodeLegs(p, d.operators)
	}
	for {
		token, err := d.grant.Sign(c.signer)
		if err == nil {
			cmd := signaling.Command{ID: s.id + ".999.999", Action: signaling.Up, Server: g.Far.Node, Session: s.id, Token: token}
			if _, err = cmd.MarshalJSON(); err == nil {
				return token, nil
			}
		}
		n := len(d.grant.Relays)
		switch {
		case codeOf(err, "") != keys.ReasonOversized:
			return nil, fmt.Errorf("control: %w", err)
		case n == 0:
			return nil, fail(http.StatusUnprocessableEntity, "too_large", "the grant does not fit into a command")
		}
		d.grant.Relays = d.grant.Relays[:n-1]
	}
}

// wholeSecond is the first whole second after t, as tokens have their ends.
func wholeSecond(t time.Time) time.Time { return t.Truncate(time.Second).Add(time.Second) }

// tokensEnd is when the tokens of s for relays end. Those of an end-to-end session
// outlast its grant, because a renewal, which has to fit into one datagram, carries
// none: relays hear of its end.
func (s *session) tokensEnd() time.Time {
	if s.endToEnd {
		return wholeSecond(s.opened.Add(s.longest))
	}
	return s.m.Ends
}

// operatorLegs are the legs of the operator with that opaque id; mu is held.
func (c *Control) operatorLegs(s *session, id string) []keys.Relay {
	p := pair{session: s.id, rev: s.m.Rev, end: s.tokensEnd()}
	for _, o := range s.present() {
		if o.id == id {
			p.ends[0] = o.key
		}
	}
	switch {
	case s.endToEnd:
		p.ends[1] = s.prekey
	case s.node != nil:
		p.ends[1] = s.node.key
	}
	return c.legs(p, legFirst)
}

// maxNodeLegs bounds the legs in a line to a node, in bytes: a line has at most 64 KiB.
const maxNodeLegs = 40 << 10

// nodeLegs returns the node's legs: with the device, then with each operator.
func (c *Control) nodeLegs(device pair, operators []operator) []keys.Relay {
	if len(c.cfg.Relays) == 0 {
		return nil
	}
	all := [][]keys.Relay{c.legs(device, legSecond)}
	size := 0
	for _, o := range operators {
		if o.removed.IsZero() {
			p := device
			p.ends[0] = o.key
			all = append(all, c.legs(p, legSecond))
		}
	}
	n := len(c.cfg.Relays)
	for _, legs := range all {
		for _, r := range legs {
			size += len(r.Token) + len(r.URL) + 128
		}
	}
	for ; n > 0 && size > maxNodeLegs; n-- {
		size = size / n * (n - 1)
	}
	var list []keys.Relay
	for _, legs := range all {
		list = append(list, legs[:min(n, len(legs))]...)
	}
	return list
}
