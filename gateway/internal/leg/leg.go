package leg

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
)

// A Dial makes a connection that keeps packets apart, at the first relay that takes it.
type Dial func(ctx context.Context, relays []keys.Relay, key keys.PrivateKey) (net.Conn, error)

// Config is what all legs of a node share.
type Config struct {
	Dial   Dial
	Key    keys.PrivateKey // the node's
	Logger *zap.Logger
}

// The waits before another attempt, doubling. What a leg dials comes back by itself
// when a relay fails; these are for relays that refuse, and for those that none reaches.
const (
	retryMin  = 500 * time.Millisecond
	retryMost = 30 * time.Second
	dialFor   = 30 * time.Second // all relays of the list
)

// A Leg is one peer's, until Stop. Its methods are safe for concurrent use.
type Leg struct {
	cfg    *Config
	port   uint16
	log    *zap.Logger
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	again  chan struct{}           // of one: there are later tokens
	up     func(at netip.AddrPort) // nil: it was told

	mu     sync.Mutex
	relays []keys.Relay
	conn   net.Conn // nil: there is none now
}

// Start makes a leg at the first of relays that takes it, and keeps it. It does not
// wait for it. port is the node's UDP port for the peer, log names the leg. up, unless
// nil, is told once, when the leg is at a relay, where the peer is from there on.
func Start(cfg *Config, port uint16, relays []keys.Relay, up func(at netip.AddrPort), log *zap.Logger) *Leg {
	l := &Leg{cfg: cfg, port: port, log: log, up: up, relays: slices.Clone(relays), done: make(chan struct{}), again: make(chan struct{}, 1)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	go l.run()
	return l
}

// Renew takes a later list, with later tokens.
func (l *Leg) Renew(relays []keys.Relay) {
	l.mu.Lock()
	same := slices.Equal(l.relays, relays)
	l.relays = slices.Clone(relays)
	conn := l.conn
	l.mu.Unlock()
	if same {
		return
	}
	if r, ok := conn.(interface{ Renew([]keys.Relay) }); ok {
		r.Renew(relays)
	}
	select {
	case l.again <- struct{}{}:
	default:
	}
}

// Up reports whether the leg is at a relay.
func (l *Leg) Up() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn != nil
}

// Stop ends the leg and does not wait; Wait does.
func (l *Leg) Stop() { l.cancel() }

// Wait returns when a stopped leg has left nothing behind.
func (l *Leg) Wait() { <-l.done }

// run keeps a connection up.
//
//	dial -> carry, until it fails -> wait -> dial
//	Renew cuts the wait short
func (l *Leg) run() {
	defer close(l.done)
	var local *socket
	for wait := retryMin; l.ctx.Err() == nil; {
		began := time.Now()
		var err error
		if local == nil {
			local, err = open(l.port)
		}
		if err == nil {
			err = l.once(local)
		}
		if l.ctx.Err() != nil {
			break
		}
		if time.Since(began) > time.Minute { // it worked
			wait = retryMin
		}
		if wait == retryMin { // not for every leg, every time, while a relay is away
			l.log.Warn("no leg at a relay", zap.Error(err))
		}
		t := time.NewTimer(wait)
		wait = min(2*wait, retryMost)
		select {
		case <-t.C:
		case <-l.again:
			wait = retryMin
		case <-l.ctx.Done():
		}
		t.Stop()
	}
	if local != nil {
		local.Close()
	}
}

// once makes a connection and carries packets until it ends.
func (l *Leg) once(local *socket) error {
	l.mu.Lock()
	relays := l.relays
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(l.ctx, dialFor)
	conn, err := l.cfg.Dial(ctx, relays, l.cfg.Key)
	cancel()
	if err != nil {
		return err
	}
	defer conn.Close()
	l.mu.Lock()
	l.conn = conn
	later := !slices.Equal(relays, l.relays)
	relays = l.relays
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.conn = nil
		l.mu.Unlock()
	}()
	if r, ok := conn.(interface{ Renew([]keys.Relay) }); ok && later {
		r.Renew(relays)
	}
	if l.up != nil {
		l.up(local.LocalAddr().(*net.UDPAddr).AddrPort())
		l.up = nil
	}
	return l.carry(conn, local)
}

// carry passes packets both ways until conn fails or the leg is stopped.
func (l *Leg) carry(conn net.Conn, local *socket) error {
	far := batches(conn)
	failed := make(chan error, 1)
	go func() {
		err := inward(far, local)
		local.interrupt()
		failed <- err
	}()
	stop := context.AfterFunc(l.ctx, local.interrupt)
	outward(local, far)
	stop()
	conn.Close()
	err := <-failed
	local.resume()
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx)
	}
	if err == nil {
		err = errors.New("leg: the connection ended")
	}
	return err
}
