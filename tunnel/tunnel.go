package tunnel

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.zx2c4.com/wireguard/device"

	"github.com/boothwire/boothwire/internal/bind"
	"github.com/boothwire/boothwire/tunnel/internal/adapter"
	"github.com/boothwire/boothwire/tunnel/internal/netstack"
	"github.com/boothwire/boothwire/tunnel/internal/reach"
	"github.com/boothwire/boothwire/tunnel/internal/watchdog"
)

// A Tunnel is one WireGuard tunnel. It lives until Close, or until its lifetime,
// its idle time or its driver ends it. Its methods are safe for concurrent use.
//
// One goroutine, run, owns what moves: the watchdog, the far ends and the paths.
// Other goroutines hand it functions (do) and read what it leaves under mu.
type Tunnel struct {
	start time.Time // of all times on the filter's clock
	log   *zap.Logger
	hooks hooks
	idle  time.Duration
	mode  Mode // Adapter or Driverless; of a caller's TUN, Adapter
	echo  reach.Echo

	bind   *bind.Bind
	gate   *reach.Device
	filter *reach.Filter
	stack  *netstack.Stack  // nil unless driverless
	nic    *adapter.Adapter // nil unless the tunnel made one
	dev    *device.Device

	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	calls    chan func()
	roamed   chan roam     // from the bind
	updating chan struct{} // held by the one Update that runs
	proved   chan struct{} // closed at the first proof
	done     chan struct{} // closed when nothing is left
	work     sync.WaitGroup
	events   events
	sockets  sockets // over an adapter

	// Of run alone.
	far     *far                   // the far end that carries traffic
	next    *far                   // the one that a move is on its way to, else nil
	ids     int                    // far ends and ways so far, to tell them apart
	ways    []*way                 // paths that a func finds
	ending  []*way                 // those of former configs that may not be closed yet
	addrIDs map[netip.AddrPort]int // of known addresses at the path machines
	clock   watchdog.Clock
	sizer   watchdog.Sizer
	buf     []byte        // an echo
	told    bind.Route    // of the newest EventPath
	pathWhy string        // what there is to tell of the path, empty for nothing
	toldWhy string        // what of that was told last
	dirty   bool          // what Status says of the ways has changed
	shown   time.Duration // when that was left for Status
	looked  time.Duration // for handshakes

	mu       sync.Mutex
	cfg      *Config // as Up and Update left it
	state    State
	since    time.Time
	why      string
	err      error
	end      time.Duration // of the lifetime, on the filter's clock; 0: none
	snapshot snapshot
	spent    spending
}

// A roam is a far end that WireGuard found at another address.
type roam struct {
	far  string // its id
	addr netip.AddrPort
}

// snapshot is what run leaves for Status.
type snapshot struct {
	rtt       time.Duration
	loss      float64
	proved    time.Time
	handshake time.Time
	path      PathKind
	remote    string
	checked   bool // checks say more than echoes
	checkRTT  time.Duration
	checkLoss float64
	why       string // of the path
	ways      []Way
	mtu       int
}

// Ready waits until the tunnel is proved and its forwards or routes are in
// place. It returns ctx's error when that ends first, and what ended the tunnel,
// net.ErrClosed after Close, when that does.
func (t *Tunnel) Ready(ctx context.Context) error {
	select {
	case <-t.proved:
	case <-t.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-t.ctx.Done():
		return t.reason()
	default:
		return nil
	}
}

// reason is why the tunnel cannot be used any more.
func (t *Tunnel) reason() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	return net.ErrClosed
}

// Done is closed when the tunnel has ended and nothing of it is left.
func (t *Tunnel) Done() <-chan struct{} { return t.done }

// Err returns nil while the tunnel lives and after Close; else what ended it:
// ErrLifetime, ErrIdle or a *DriverError.
func (t *Tunnel) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Close takes the tunnel down: connections are reset, blocked calls return
// net.ErrClosed, and when it returns no goroutine, socket, adapter, address or
// route of the tunnel is left. It is idempotent and returns nil.
func (t *Tunnel) Close() error {
	t.cancel()
	<-t.done
	return nil
}

// do runs f in run's goroutine and waits for it.
func (t *Tunnel) do(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	select {
	case t.calls <- func() { result <- f() }:
	case <-ctx.Done():
		return ctx.Err()
	case <-t.ctx.Done():
		return t.reason()
	}
	select {
	case err := <-result: // run finishes what it has begun
		return err
	case <-t.done:
		return t.reason()
	}
}

// Status returns a snapshot.
func (t *Tunnel) Status() Status {
	s := t.filter.Stats()
	now := t.gate.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	st := Status{
		State:     t.state,
		Since:     t.since,
		Addresses: append(t.cfg.Addresses[:0:0], t.cfg.Addresses...),
		Mode:      t.mode,
		MTU:       t.snapshot.mtu,
		Path:      t.snapshot.path,
		Remote:    t.snapshot.remote,
		Why:       t.why,
		Ways:      slices.Clone(t.snapshot.ways),
		RTT:       t.snapshot.rtt,
		Loss:      t.snapshot.loss,
		Proved:    t.snapshot.proved,
		Handshake: t.snapshot.handshake,
		Rx:        s.Rx,
		Tx:        s.Tx,
		Spent:     t.spent.until(now),
		Dropped:   s.DroppedIn + s.DroppedOut,
	}
	if t.nic != nil {
		st.Name = t.nic.Name()
	}
	if t.snapshot.checked {
		st.RTT, st.Loss = t.snapshot.checkRTT, t.snapshot.checkLoss
	}
	if st.State == Connected {
		st.Why = t.snapshot.why
	}
	if t.end != 0 {
		st.Left = max(t.end-now, 0)
	}
	return st
}

// become changes the state; why is empty for Connected.
func (t *Tunnel) become(s State, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != s {
		t.state, t.since = s, time.Now()
	}
	t.why = why
	t.spend()
}

// tell records an event and logs it.
func (t *Tunnel) tell(ev Event) {
	if ev.At.IsZero() {
		ev.At = time.Now()
	}
	fields := []zap.Field{fieldKind(ev.Kind)}
	if ev.Path != "" {
		fields = append(fields, fieldPath(ev.Path))
	}
	if ev.Remote.IsValid() {
		fields = append(fields, fieldRemote(ev.Remote))
	}
	if ev.Err != nil {
		fields = append(fields, zap.Error(ev.Err))
	}
	if ev.Kind == EventWarning {
		t.log.Warn("tunnel", fields...)
	} else {
		t.log.Info("tunnel", fields...)
	}
	t.events.add(ev)
}
