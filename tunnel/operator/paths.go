package operator

import (
	"context"
	"errors"
	"iter"
	"net"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/nat"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/internal/find"
)

// paths adds to t the ways that have to be found: a leg at one of the session's relays,
// and, straight to a device, a direct one.
func (s *Session) paths(t *tunnel.Config, g *keys.Grant, relays []keys.Relay, stun []string) {
	if len(relays) > 0 {
		t.Paths = append(t.Paths, tunnel.Path{Name: "relay", Kind: tunnel.Relay, Open: func(ctx context.Context, _ net.PacketConn) (net.Conn, error) {
			if g.Far.Node != "" && !find.Late(ctx, s.connected) {
				return nil, context.Cause(ctx)
			}
			c, err := relay.Dial(ctx, relays, s.key, s.cfg.Relay)
			if err != nil {
				return nil, err
			}
			s.leg.Store(c)
			// A handshake that begins before the far end is there has to begin again.
			if err := c.Meet(ctx); err != nil {
				c.Close()
				return nil, err
			}
			return c, nil
		}})
		// A leg takes no later tokens of another pair of keys; the tunnel makes another
		// leg with those.
		if leg := s.leg.Load(); leg != nil && g.Prekey == s.Grant().Prekey && g.Far.Key == s.Grant().Far.Key {
			leg.Renew(relays)
		}
	}
	if g.Far.Node != "" {
		return
	}
	secret := g.ICESecret(s.key)
	t.Paths = append(t.Paths, tunnel.Path{Name: "ice", Kind: tunnel.Direct, Open: func(ctx context.Context, sock net.PacketConn) (net.Conn, error) {
		x := newExchange(ctx, s.ctl, s.id)
		c, err := nat.Dial(ctx, sock, x, secret, s.find.Config(ctx, sock, g, stun, s.log))
		if err != nil {
			x.end()
			return nil, s.find.Failed(err, false)
		}
		s.log.Info("direct path", zap.Stringer("pair", c.Pair()))
		return &pathConn{s.find.Conn(c), x}, nil
	}})
}

// connected reports whether the tunnel has a proof and nothing speaks against it.
func (s *Session) connected() bool {
	t := s.tun.Load()
	return t != nil && t.Status().State == tunnel.Connected
}

// pathConn ends its exchange with it.
type pathConn struct {
	*find.Conn
	x *exchange
}

func (c *pathConn) Close() error {
	err := c.Conn.Close()
	c.x.end()
	return err
}

// An exchange carries sealed offers through control; it is a nat.Exchanger.
type exchange struct {
	ctl    *client.Client
	id     string
	offers chan []byte
	cancel context.CancelFunc
	gone   chan struct{} // closed when nothing comes any more
	err    error         // why; set before gone is closed
}

// newExchange listens from here on; ctx bounds nothing of it.
func newExchange(ctx context.Context, ctl *client.Client, id string) *exchange {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	x := &exchange{ctl: ctl, id: id, offers: make(chan []byte, 16), cancel: cancel, gone: make(chan struct{})}
	go x.listen(ctx.Done(), ctl.Offers(ctx, id))
	return x
}

func (x *exchange) listen(end <-chan struct{}, offers iter.Seq2[[]byte, error]) {
	defer close(x.gone)
	for sealed, err := range offers {
		if err != nil {
			x.err = err
			return
		}
		select {
		case x.offers <- sealed:
		case <-end:
			x.err = net.ErrClosed
			return
		}
	}
	x.err = net.ErrClosed
}

// end waits until nothing is left.
func (x *exchange) end() {
	x.cancel()
	<-x.gone
}

// SendOffer hands sealed to control; one that is too many at once is dropped, since
// each is sent again until it is answered.
func (x *exchange) SendOffer(ctx context.Context, sealed []byte) error {
	err := x.ctl.SendOffer(ctx, x.id, sealed)
	if e, ok := errors.AsType[*client.Error](err); ok && e.Code == keys.ReasonFlood {
		return nil
	}
	return err
}

// ReceiveOffer waits for the device's next one.
func (x *exchange) ReceiveOffer(ctx context.Context) ([]byte, error) {
	select {
	case sealed := <-x.offers:
		return sealed, nil
	case <-x.gone:
		return nil, x.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
