package operator

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/internal/find"
)

// Config is what the operator wants. Its zero value asks for SSH for an hour.
type Config struct {
	Ports    []keys.Port   // to reach at the device; default tcp/22
	Reason   string        // for the audit row, where policy wants one
	Ticket   string        // number of the ticket, likewise
	Lifetime time.Duration // default control's
	Node     string        // default control's choice
	Batch    bool          // one of many: others go first where devices wait for their turn
	EndToEnd bool          // no node takes part: straight to the device, or through a relay
	Path     tunnel.Policy // which kinds of paths may be used; default all
	Relay    *relay.Config // how relays are dialled; default relay's
	Mode     tunnel.Mode   // default tunnel.Driverless: Dial and Forward need no adapter
	Name     string        // of an adapter, default chosen
	MTU      int           // of the tunnel, bytes; default tunnel's
	Roots    *keys.Roots   // that vouch for grants; default those that control names over its TLS
	Logger   *zap.Logger   // default silent
	// Socket opens the session's UDP socket, and for some seconds one by which an
	// end-to-end session finds out what the network is; the session closes them.
	// Default: on all addresses.
	Socket func() (net.PacketConn, error)
}

// closeTimeout bounds the good-bye to a control that does not answer.
const closeTimeout = 10 * time.Second

// A Session is one operator's connection to one device. It lives until Close, or
// until control, the node or the device ends it. It is safe for concurrent use.
type Session struct {
	ctl    *client.Client
	cfg    Config
	id     string
	self   string // this operator's opaque id in it
	key    keys.PrivateKey
	roots  *keys.Roots
	cancel context.CancelFunc
	tunnel *tunnel.Tunnel
	log    *zap.Logger

	tun     atomic.Pointer[tunnel.Tunnel] // the same, for paths that open before Up returns
	leg     atomic.Pointer[relay.Conn]
	find    *find.Finder
	revised chan struct{} // control has a later grant

	ladder ladder
	ready  chan struct{} // closed when device and tunnel are ready
	done   chan struct{} // closed when nothing is left

	mu    sync.Mutex
	grant *keys.Grant
	now   client.Session
	err   error
	gone  bool // others are in the session, this operator is not
	over  bool // closed by Close
}

// Status is a snapshot.
type Status struct {
	Session client.Session // as control sees it
	Tunnel  tunnel.Status  // as this end sees it
}

// Open asks control for a session with a device and begins to connect. It returns
// when control has agreed; Ready waits for the device. ctx bounds the call. A
// refusal is an *Error with control's code.
func Open(ctx context.Context, ctl *client.Client, device string, cfg *Config) (*Session, error) {
	var c Config
	if cfg != nil {
		c = *cfg
	}
	if c.Mode == tunnel.Auto {
		c.Mode = tunnel.Driverless
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	key := keys.NewPrivateKey()
	opened, err := c.ask(ctx, ctl, device, key)
	if err != nil {
		key.Erase()
		return nil, refused(err)
	}
	s := &Session{
		ctl: ctl, cfg: c, id: opened.ID, self: opened.Operator, key: key, now: opened, revised: make(chan struct{}, 1),
		log:   c.Logger.With(zap.String("session", opened.ID), zap.String("device", device)),
		find:  find.New(&find.Network{Socket: c.Socket}),
		ready: make(chan struct{}), done: make(chan struct{}),
	}
	if err := s.bringUp(ctx, device, opened); err != nil {
		return nil, s.abandon(err)
	}
	s.ladder.see(opened)
	follow, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go s.run(follow)
	return s, nil
}

// ask asks control for a session in which key is this operator's.
func (c *Config) ask(ctx context.Context, ctl *client.Client, device string, key keys.PrivateKey) (client.Session, error) {
	return ctl.OpenSession(ctx, device, &client.OpenRequest{
		Key:      key.Public(),
		Ports:    c.Ports,
		Reason:   c.Reason,
		Ticket:   c.Ticket,
		Lifetime: client.SecondsOf(c.Lifetime),
		Node:     c.Node,
		EndToEnd: c.EndToEnd,
		Batch:    c.Batch,
	})
}

// verified returns the grant that control answered with, once it is known to be this
// operator's.
func (s *Session) verified(ctx context.Context, device string, opened client.Session) (*keys.Grant, error) {
	s.roots = s.cfg.Roots
	if s.roots == nil {
		trust, err := s.ctl.Trust(ctx)
		if err != nil {
			return nil, fmt.Errorf("operator: ask control for its roots: %w", err)
		}
		if s.roots, err = keys.ParseRoots(trust.Issuer, trust.Roots...); err != nil {
			return nil, fmt.Errorf("operator: control's roots: %w", err)
		}
	}
	grant, err := s.roots.VerifyGrant([]byte(opened.Grant))
	if err != nil {
		return nil, fmt.Errorf("operator: control's grant: %w", err)
	}
	return grant, s.accepts(grant, device)
}

// bringUp verifies the grant that control answered with and starts the tunnel.
func (s *Session) bringUp(ctx context.Context, device string, opened client.Session) error {
	grant, err := s.verified(ctx, device, opened)
	if err != nil {
		return err
	}
	if s.cfg.EndToEnd && grant.Far.Node != "" {
		return fmt.Errorf("operator: control's grant leads through the node %q", grant.Far.Node)
	}
	s.grant = grant
	cfg := s.config(grant, opened)
	if s.cfg.Socket != nil {
		if cfg.Socket, err = s.cfg.Socket(); err != nil {
			return fmt.Errorf("operator: open a socket: %w", err)
		}
	}
	if s.tunnel, err = tunnel.Up(ctx, cfg); err != nil {
		return fmt.Errorf("operator: %w", err)
	}
	s.tun.Store(s.tunnel)
	return nil
}

// accepts says why a grant of control's is not this operator's.
func (s *Session) accepts(grant *keys.Grant, device string) error {
	named := func(o keys.Operator) bool { return o.Key == s.key.Public() }
	switch {
	case grant.Session != s.id:
		return errors.New("operator: control's grant is of another session")
	case grant.Device != device:
		return fmt.Errorf("operator: control's grant is of the device %q", grant.Device)
	case !slices.ContainsFunc(grant.Operators, named):
		return errors.New("operator: control's grant does not name this operator's key")
	}
	return nil
}

// run follows the session at control and the tunnel here until either ends.
func (s *Session) run(ctx context.Context) {
	defer close(s.done)
	defer s.cancel()
	defer s.key.Erase()
	var work sync.WaitGroup
	work.Go(func() { s.waitReady(ctx) })
	if s.Grant().Far.Node == "" {
		work.Go(func() { s.renew(ctx) })
	} else {
		work.Go(func() { s.follow(ctx) })
	}
	work.Go(func() {
		select {
		case <-s.tunnel.Done():
			s.fail(s.tunnel.Err())
			s.cancel()
		case <-ctx.Done():
		}
	})
	for now, err := range s.ctl.WatchSession(ctx, s.id) {
		if err != nil {
			if ctx.Err() == nil {
				s.fail(refused(err))
			}
			break
		}
		removed := s.see(now)
		if now.State.Final() {
			s.fail(ended(now))
			break
		}
		if removed {
			s.fail(&Error{Stage: signaling.Stage(now.Stage), Code: CodeRemoved})
			break
		}
	}
	s.cancel()
	s.tunnel.Close()
	s.find.Wait()
	work.Wait()
	s.ladder.end(s.Err())
}

// waitReady closes ready when the device says so and an echo came back from it.
func (s *Session) waitReady(ctx context.Context) {
	if s.tunnel.Ready(ctx) != nil {
		return
	}
	if !s.ladder.waitConnected(ctx) {
		return
	}
	s.ladder.ready()
	close(s.ready)
}

// see takes what control says of the session, and reports whether this operator
// was in it before and is no longer.
func (s *Session) see(now client.Session) (removed bool) {
	in := func(c client.Session) bool {
		return slices.ContainsFunc(c.Operators, func(o client.Operator) bool { return o.ID == s.self })
	}
	s.mu.Lock()
	removed = in(s.now) && !in(now) && now.State != client.Closing
	s.gone = s.gone || removed
	if s.outdated(now) {
		select {
		case s.revised <- struct{}{}:
		default:
		}
	}
	now.Grant, now.Operator = s.now.Grant, s.now.Operator // told once, at the opening
	s.now = now
	s.mu.Unlock()
	s.ladder.see(now)
	return removed
}

// outdated reports whether this end needs a later grant than it has, or the tokens for
// relays that come with one: the device has another key, the session another node, or
// another end, after which a relay lets in nobody by the tokens of before. mu is held.
func (s *Session) outdated(now client.Session) bool {
	if now.Rev <= s.grant.Rev {
		return false
	}
	return now.EndToEnd || !now.Moving && (now.Node != s.grant.Far.Node || now.Ends.After(s.grant.End))
}

// fail notes the first reason for the session's end.
func (s *Session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && !s.over {
		s.err = err
	}
}

// ID is the session's id at control.
func (s *Session) ID() string { return s.id }

// Grant is the session's grant as this end has it.
func (s *Session) Grant() *keys.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant
}

// Status is a snapshot of both views of the session.
func (s *Session) Status() Status {
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	return Status{Session: now, Tunnel: s.tunnel.Status()}
}

// Events yields what happened to the tunnel at this end so far and then what happens,
// until the session is over or ctx ends; Status says what it has come to.
func (s *Session) Events(ctx context.Context) iter.Seq[tunnel.Event] { return s.tunnel.Events(ctx) }

// Ladder yields the steps so far and then each further one; it ends after ready,
// or with an *Error (or ctx's error) as its last element. The steps' times are
// those of whoever reported them; Step.By says who.
func (s *Session) Ladder(ctx context.Context) iter.Seq2[client.Step, error] {
	return s.ladder.follow(ctx)
}

// Ready waits until the device is ready and an echo came back from it through the
// tunnel. It returns an *Error when the session ends first, and ctx's error when
// that does.
func (s *Session) Ready(ctx context.Context) error {
	select {
	case <-s.done: // an end counts, however ready the session was before
		return s.reason()
	default:
	}
	select {
	case <-s.ready:
		return nil
	case <-s.done:
		return s.reason()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reason is why a session that is over cannot be used.
func (s *Session) reason() error {
	if err := s.Err(); err != nil {
		return err
	}
	return net.ErrClosed
}

// Dial waits for Ready and connects to a granted port of the device. The address
// is ":22", or the device's tunnel address with a port; the network "tcp" or
// "udp".
func (s *Session) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("operator: dial: %w", err)
	}
	if host == "" {
		host = s.Grant().Addresses[0].String()
	}
	if err := s.Ready(ctx); err != nil {
		return nil, err
	}
	return s.tunnel.Dial(ctx, network, net.JoinHostPort(host, port))
}

// Done is closed when the session is over and nothing of it is left here.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err is why the session ended by itself; nil while it lives, after Close and
// after a planned end.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close leaves the session: control removes this operator, and closes the session
// if he was its last. It is idempotent, waits until nothing is left here, and
// returns control's error if it could not be told; the session then ends at its
// time.
func (s *Session) Close() error {
	s.mu.Lock()
	first := !s.over
	s.over = true
	left := s.gone || s.now.State.Final()
	s.mu.Unlock()
	var err error
	if first && !left {
		err = s.bye()
	}
	s.cancel()
	<-s.done
	return err
}

// bye tells control that this operator leaves.
func (s *Session) bye() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_, err := s.ctl.RemoveOperator(ctx, s.id, s.self)
	if r, ok := errors.AsType[*client.Error](err); ok && (r.Code == keys.ReasonClosed || r.Status == http.StatusNotFound) {
		return nil // it is over, or he is out of it
	}
	return err
}

// abandon takes leave of a session that err keeps from being used, and erases its key.
func (s *Session) abandon(err error) error {
	s.key.Erase()
	if e := s.bye(); e != nil {
		err = fmt.Errorf("%w (and control was not told: the session lasts until %s: %w)", err, s.now.Ends.Format(time.RFC3339), e)
	}
	return err
}

// connected reports whether control holds a session for connected.
func connected(s client.Session) bool {
	return s.State == client.Connected || s.State == client.Degraded
}
