package agent

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/internal/find"
	"github.com/boothwire/boothwire/tunnel/preflight"
)

// Config is what the host decides. Its zero value works; nil means the same.
type Config struct {
	// MayOpen is asked before a session opens, in a goroutine of its own; it
	// may wait until ctx ends. The engineer reads the text of its error.
	// Default: always.
	MayOpen func(ctx context.Context, s Session) error
	// Opened and Closed are told of each session that opened, once each and in
	// this order. They must not block for long: the tunnel waits.
	Opened func(s Session)
	Closed func(s Session, why error)
	// Socket opens the UDP socket of each session, for a host that binds it to an
	// address or watches it, and one by which an end-to-end session finds out for some
	// seconds what the network is; the session closes them. Default: on all addresses.
	Socket func() (net.PacketConn, error)

	Mode     tunnel.Mode          // default tunnel.Auto
	Services map[keys.Port]string // where a granted port is served; default 127.0.0.1, same port
	Relay    *relay.Config        // how relays are dialled; default relay's
	Bare     []string             // nodes for which a bare vpn_up may ask control; default none
	Due      time.Duration        // time between statuses; default 15 min
	// Preflight is the time between checks of this host, whose results control is told;
	// the first is made when Run begins. Default 30 min; negative: there are none.
	Preflight time.Duration
	// Pool has the addresses of the deployment's tunnels, which that check looks for on
	// this host. Default 10.166.0.0/16.
	Pool    netip.Prefix
	Prove   time.Duration // from a session's acceptance to its first proof, else it fails as no_proof; default and at most 60 s
	Version string        // of the host application, shown to operators
	Logger  *zap.Logger   // default silent
}

// A Session is one connection of an engineer, as the host sees it.
type Session struct {
	ID        string
	Operators []string // opaque ids
	Ports     []keys.Port
	Lifetime  time.Duration
}

// Status is a snapshot of the agent.
type Status struct {
	State   signaling.State
	Session Session // zero when none is open
	Ladder  []signaling.Step
	Tunnel  tunnel.Status
	Line    bool // the signalling connection is up

	Preflight []preflight.Result // of the latest check of this host; nil: none was made yet
}

// An Event is one change of the agent's state.
type Event struct {
	At      time.Time
	State   signaling.State
	Session string
	Step    signaling.Step // zero when no stage was reached
	Err     error          // why the session ended or was refused
}

// Stats counts what happened since New.
type Stats struct {
	Sessions, Failed, Refused, Reconnects uint64

	Rx, Tx uint64           // bytes of all sessions, in and out of their tunnels
	Spent  tunnel.PathTimes // by the packets of all sessions on each kind of path
}

// An Agent serves one device. Its methods are safe for concurrent use.
type Agent struct {
	device *keys.Device
	line   *observed
	cfg    Config
	log    *zap.Logger

	network *find.Network
	checks  *checks

	events   feed
	running  atomic.Bool
	sessions atomic.Uint64
	failed   atomic.Uint64
	refused  atomic.Uint64

	mu   sync.Mutex
	now  Status
	open *session // nil when none
	past figures  // of sessions that are over
}

// proveFor bounds what a grant that a broker delivers late can cost: knocking at
// the grant's own far end for so long. Control gives up after as long.
const proveFor = 60 * time.Second

// New makes an agent of the device's identity and a line to control. Nothing
// runs before Run.
func New(device *keys.Device, line signaling.Listener, cfg *Config) (*Agent, error) {
	if device == nil {
		return nil, errors.New("agent: a device is required (keys.OpenDevice)")
	}
	if line == nil {
		return nil, errors.New("agent: a line is required (signaling.RideOn, signaling/mqtt or signaling/https)")
	}
	a := &Agent{device: device, checks: newChecks()}
	if cfg != nil {
		a.cfg = *cfg
	}
	if a.cfg.Prove <= 0 || a.cfg.Prove > proveFor {
		a.cfg.Prove = proveFor
	}
	if a.cfg.Preflight == 0 {
		a.cfg.Preflight = checkEvery
	}
	a.log = a.cfg.Logger
	if a.log == nil {
		a.log = zap.NewNop()
	}
	a.log = a.log.With(zap.String("device", device.ID()))
	a.line = &observed{Listener: line, up: a.lineUp}
	a.network = &find.Network{Socket: a.cfg.Socket}
	a.now.State = signaling.Disconnected
	a.events.publish(Event{At: time.Now(), State: signaling.Disconnected})
	return a, nil
}

// Run serves until ctx ends, and returns nil once the open session is closed
// and nothing is left behind. An error says why it could not go on; only one
// Run may be under way.
func (a *Agent) Run(ctx context.Context) error {
	if !a.running.CompareAndSwap(false, true) {
		return errors.New("agent: Run is already under way")
	}
	defer a.running.Store(false)
	a.log.Info("agent runs", zap.Stringer("identity", a.device.Key()))
	looking, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { a.check(looking) })
	defer work.Wait()
	defer stop()
	err := signaling.Serve(ctx, a.line, a.device, a.serve, &signaling.Config{
		Bare:    a.cfg.Bare,
		Due:     a.cfg.Due,
		Version: a.cfg.Version,
		Caps:    []string{capEndToEnd},
		NAT:     a.network.Behaviour,
		Checks:  a.checks.said,
		Changed: a.checks.changed,
		Observe: a.notice,
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}

// Status is the present state.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.now
	s.Ladder = append([]signaling.Step(nil), s.Ladder...)
	s.Preflight = a.checks.results()
	if a.open != nil && a.open.tunnel != nil {
		s.Tunnel = a.open.tunnel.Status()
	}
	return s
}

// Events yields the present state, then each change until ctx ends. A reader
// that lags far behind loses the oldest changes, never the newest.
func (a *Agent) Events(ctx context.Context) iter.Seq[Event] { return a.events.follow(ctx) }

// Stats is a snapshot of the counters.
func (a *Agent) Stats() Stats {
	a.mu.Lock()
	past := a.past
	if a.open != nil && a.open.tunnel != nil {
		past.add(a.open.tunnel.Status())
	}
	a.mu.Unlock()
	return Stats{
		Sessions:   a.sessions.Load(),
		Failed:     a.failed.Load(),
		Refused:    a.refused.Load(),
		Reconnects: a.line.connects.Load(),
		Rx:         past.rx,
		Tx:         past.tx,
		Spent:      past.spent,
	}
}

// Hangup ends the open session, if any, and returns when it is closed or ctx
// ends.
func (a *Agent) Hangup(ctx context.Context) error {
	a.mu.Lock()
	s := a.open
	a.mu.Unlock()
	if s == nil {
		return nil
	}
	s.cancel(ErrHangup)
	select {
	case <-s.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Agent) lineUp(up bool) {
	a.mu.Lock()
	a.now.Line = up
	a.mu.Unlock()
	if up {
		signal(a.checks.soon)
	}
}

func (a *Agent) notice(n signaling.Notice) {
	switch n.Kind {
	case signaling.NoticeRefused:
		a.refused.Add(uint64(max(n.Count, 1)))
		a.log.Warn("command refused", zap.String("code", n.Code), zap.String("session", n.Session), zap.Int("count", n.Count), zap.Error(n.Err))
	default:
		a.log.Info("signalling", zap.String("event", n.Kind))
	}
}

// observed tells whether its line is up.
type observed struct {
	signaling.Listener
	up       func(bool)
	connects atomic.Uint64
}

func (o *observed) Listen(ctx context.Context, sink signaling.Sink) error {
	return o.Listener.Listen(ctx, observedSink{sink, o})
}

type observedSink struct {
	signaling.Sink
	o *observed
}

func (s observedSink) Connected(up bool) {
	if up {
		s.o.connects.Add(1)
	}
	s.o.up(up)
	s.Sink.Connected(up)
}
