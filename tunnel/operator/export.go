package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel"
)

// A Peer is an operator's side of a session, for a WireGuard that is not this
// process's. Whoever has it may use it until the session ends.
type Peer struct {
	Session client.Session // as control has it
	Grant   *keys.Grant    // verified
	Config  *tunnel.Config // key, addresses, far end and, in Paths, where that is

	session *Session
}

// Close leaves the session: control removes this operator, and closes the session if he
// was its last.
func (p *Peer) Close() error { return p.session.bye() }

// Export asks control for a session as Open does, and returns when device and node
// hold it for connected. Nobody here follows it then: it lives until the last operator
// leaves or its time is over, and a node to which control moves it has another key.
// step, unless nil, is told each step of the ladder. Of cfg it heeds what control is
// asked for; sessions end to end cannot be exported. When it fails it has taken leave
// of the session.
func Export(ctx context.Context, ctl *client.Client, device string, cfg *Config, step func(client.Step)) (*Peer, error) {
	var c Config
	if cfg != nil {
		c = *cfg
	}
	if c.EndToEnd {
		return nil, fmt.Errorf("operator: export a session end to end: %w", errors.ErrUnsupported)
	}
	key := keys.NewPrivateKey()
	opened, err := c.ask(ctx, ctl, device, key)
	if err != nil {
		key.Erase()
		return nil, refused(err)
	}
	s := &Session{ctl: ctl, cfg: c, id: opened.ID, self: opened.Operator, key: key, now: opened}
	peer, err := s.export(ctx, device, opened, step)
	if err != nil {
		return nil, s.abandon(err)
	}
	return peer, nil
}

func (s *Session) export(ctx context.Context, device string, opened client.Session, step func(client.Step)) (*Peer, error) {
	grant, err := s.verified(ctx, device, opened)
	if err != nil {
		return nil, err
	}
	cfg := tunnel.ForOperator(grant, s.key)
	switch {
	case grant.Far.Node == "":
		return nil, errors.New("operator: control's grant leads through no node: such a session cannot be exported")
	case len(cfg.Paths) == 0:
		return nil, fmt.Errorf("operator: the node %s has no endpoint", grant.Far.Node)
	}
	cfg.Far.Allowed = append(cfg.Far.Allowed, grant.Far.Proof)
	now, err := s.waitConnected(ctx, step)
	if err != nil {
		return nil, err
	}
	return &Peer{Session: now, Grant: grant, Config: cfg, session: s}, nil
}

// waitConnected follows the session until control holds it for connected.
func (s *Session) waitConnected(ctx context.Context, step func(client.Step)) (client.Session, error) {
	var l ladder
	told := 0
	for now, err := range s.ctl.WatchSession(ctx, s.id) {
		if err != nil {
			return now, refused(err)
		}
		l.see(now)
		v, _ := l.look(told)
		told += len(v.steps)
		for _, p := range v.steps {
			if step != nil {
				step(p)
			}
		}
		switch {
		case connected(now):
			return now, nil
		case now.State.Final() || now.State == client.Closing:
			if err := ended(now); err != nil {
				return now, err
			}
			return now, &Error{Code: keys.ReasonClosed}
		}
	}
	return client.Session{}, context.Cause(ctx)
}
