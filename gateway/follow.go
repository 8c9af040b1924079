package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/internal/strictjson"
	"github.com/boothwire/boothwire/keys"
)

// FollowConfig is how a node reaches its control.
type FollowConfig struct {
	// Claim enrols a node that has not enrolled; else it is not needed.
	Claim string
	// HTTP as in EnrollConfig.
	HTTP *http.Client
	// Over, unless nil, is told of every session of the deployment that is over, of
	// other nodes too: those of the last hour whenever control was reached anew, then
	// each as it ends. It is for a relay in the same process, and must not block.
	Over func(session string)
}

// Timings of a follow.
const (
	pingPeriod  = 10 * time.Second
	silence     = 2*pingPeriod + pingPeriod/2 // two pings missed, and time for one under way
	gatherFor   = 100 * time.Millisecond      // events that nobody waits for
	bytesPeriod = 10 * time.Second
	beatPeriod  = 5 * time.Second // control takes a node for lost that misses three
	maxEvents   = 512             // in one report
)

var errSilent = errors.New("gateway: control fell silent")

// Follow takes grants and downs from control and reports to it, until ctx or the
// node ends; it reconnects by itself, and whatever control says meanwhile is said
// again by control then. Sessions in force go on while control cannot be reached,
// until their end. It returns ctx's cause, net.ErrClosed after Close, or an error
// that no later attempt could mend. One Follow at a time.
func (n *Node) Follow(ctx context.Context, url string, cfg *FollowConfig) error {
	return n.follow(ctx, url, cfg, silence)
}

func (n *Node) follow(ctx context.Context, url string, cfg *FollowConfig, silence time.Duration) error {
	if err := n.usable(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() {
		select {
		case <-n.done:
			cancel(net.ErrClosed)
		case <-ctx.Done():
		}
	})
	ready, ok := n.out.open()
	if !ok {
		return errors.New("gateway: the node is followed already")
	}
	defer n.out.close()
	link, err := n.link(ctx, url, cfg)
	if err != nil {
		return err
	}
	defer link.close()
	f := &follower{node: n, link: link, ready: ready, silence: silence, seq: uint64(time.Now().UnixMicro()), bytes: make(map[string]uint64)}
	if cfg != nil {
		f.over = cfg.Over
	}
	for wait := newBackoff(); ; {
		err := f.connect(ctx, wait)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n.cfg.Logger.Warn("control is lost", zap.Error(err))
		if err := wait.sleep(ctx); err != nil {
			return err
		}
	}
}

// link makes the node's side of the connection to control, enrolled if need be.
func (n *Node) link(ctx context.Context, url string, cfg *FollowConfig) (*control, error) {
	var c FollowConfig
	if cfg != nil {
		c = *cfg
	}
	e, err := loadEnrolment(n.cfg.Store)
	if err != nil {
		return nil, err
	}
	if e == nil && c.Claim != "" {
		e, err = Enroll(ctx, url, n.cfg.Store, &EnrollConfig{
			Claim: c.Claim, Name: n.name, Endpoints: n.FarEnd().Endpoints, Version: n.cfg.Version,
			HTTP: c.HTTP, Logger: n.cfg.Logger,
		})
		if err != nil {
			return nil, err
		}
		n.settle(e.Pool.Masked(), e.Proof)
	}
	if e != nil && e.Name != n.name {
		return nil, fmt.Errorf("gateway: enrolled as %q, opened as %q", e.Name, n.name)
	}
	id, err := keys.OpenIdentity(n.cfg.Store, nameIdentity)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	pin := ""
	if e != nil {
		pin = e.Pin
	}
	return newControl(url, c.HTTP, id, n.name, pin)
}

// settle takes over control's idea of the tunnel addresses.
func (n *Node) settle(pool netip.Prefix, proof netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if pool == n.cfg.Pool && proof == n.cfg.Proof {
		return
	}
	n.cfg.Logger.Warn("tunnel addresses changed", zap.Stringer("pool", pool), zap.Stringer("proof", proof))
	n.cfg.Pool, n.cfg.Proof = pool, proof
	n.plane.SetPool(pool, proof)
	n.hosts = overlaps(pool)
}

// follower is one Follow.
//
//	connect: GET -> hello -> first report (what is held) -> reports
//	             \-> lines -> Admit, End
//	silence, error or end of the stream -> back-off -> connect
type follower struct {
	node    *Node
	link    *control
	ready   <-chan struct{}
	silence time.Duration
	over    func(session string) // nil: nobody wants to know

	seq   uint64            // of the next report; of no other run of a node
	held  []reportSession   // when the stream began
	batch []reportEvent     // of a report that did not get through
	bytes map[string]uint64 // rx+tx of each session as last reported
	shown time.Time         // when control had the figures last

	counted []reportEvent // counters that wait for room in a report
}

// connect follows one stream to its end.
func (f *follower) connect(ctx context.Context, wait *backoff) error {
	ctx, cancel := context.WithCancelCause(ctx)
	watchdog := time.AfterFunc(f.silence, func() { cancel(errSilent) })
	defer watchdog.Stop()
	reporter := make(chan struct{})
	close(reporter)
	defer func() { <-reporter }()
	defer cancel(nil)
	defer f.node.reach(false)
	body, err := f.link.stream(ctx, f.over != nil)
	if err != nil {
		return cause(ctx, err)
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	greeted := false
	for lines.Scan() {
		watchdog.Reset(f.silence)
		var l line
		if err := strictjson.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("gateway: a line of control: %w", err)
		}
		if !greeted && l.Kind == lineHello {
			greeted = true
			wait.reset()
			f.node.reach(true)
			// Before the grants that follow are in force: control learns from what is
			// not held which devices have to prove their tunnels anew.
			f.held = f.node.holding()
			f.node.cfg.Logger.Info("control is there")
			reporter = make(chan struct{})
			go func() {
				defer close(reporter)
				cancel(f.report(ctx))
			}()
		}
		f.obey(ctx, &l)
	}
	err = lines.Err()
	if err == nil {
		err = errors.New("gateway: control ended the stream")
	}
	return cause(ctx, err)
}

// cause prefers why ctx was cancelled to the error that came of it.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// obey does what a line says. Refusals are reported as events.
func (f *follower) obey(ctx context.Context, l *line) {
	if !keys.ValidID(l.Session) {
		l.Session = ""
	}
	switch l.Kind {
	case lineHello:
		if l.Pool.IsValid() && l.Pool.Contains(l.Proof) {
			f.node.settle(l.Pool.Masked(), l.Proof)
		}
	case lineGrant:
		_ = f.node.admitFor(ctx, l.Session, []byte(l.Token), l.Relays)
	case lineEnd:
		_ = f.node.endSigned(l.Session, []byte(l.Token))
	case lineOver:
		if f.over != nil && l.Session != "" {
			f.over(l.Session)
		}
	}
}
