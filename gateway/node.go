package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/internal/journal"
	"github.com/boothwire/boothwire/keys"
)

// Node is one node. It is safe for concurrent use; Close ends its life.
// Lock order: Node.mu, then the plane's, the journal's and the outbox's.
type Node struct {
	name  string
	key   keys.PublicKey
	port  uint16 // UDP, for devices
	entry uint16 // UDP, for operators; may be the same
	roots *keys.Roots
	cfg   Config // Pool and Proof under mu
	clock clock
	plane plane
	seen  *sightings
	out   outbox
	wake  chan struct{} // of one: the agenda changed
	done  chan struct{}
	loop  sync.WaitGroup
	once  sync.Once // of Close
	fault error
	hosts []netip.Prefix // of this host, in the pool

	journal *journal.Journal // nil: none

	mu        sync.Mutex
	sessions  map[string]*held
	closed    map[string]tombstone
	strange   int                       // of these, how many were never here
	keys      map[keys.PublicKey]string // which session a key belongs to, until its end
	addresses map[netip.Addr]string     // which session in force has it
	legs      *legs
	agenda    agenda
	hearing   hearing
	last      instant // that the agenda was looked at
	counts    counts
	noted     refusals // that were logged
	reached   bool     // control speaks to it
	shut      bool
}

// Open starts a node that listens for WireGuard and knows no session yet. name is
// the name that grants call it by, roots verify them; both are required. ctx
// bounds only the call.
func Open(ctx context.Context, name string, roots *keys.Roots, cfg *Config) (*Node, error) {
	return open(ctx, name, roots, cfg, openPlane, systemClock())
}

func open(ctx context.Context, name string, roots *keys.Roots, cfg *Config, opener opener, clock clock) (*Node, error) {
	if !keys.ValidID(name) {
		return nil, fmt.Errorf("gateway: %q is no name for a node", name)
	}
	if roots == nil {
		return nil, errors.New("gateway: a node without roots could verify nothing")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	settled, err := cfg.settled()
	if err != nil {
		return nil, err
	}
	settled.Logger = settled.Logger.With(zap.String("node", name))
	key, err := openKey(settled.Store)
	if err != nil {
		return nil, err
	}
	n := &Node{
		name: name, key: key.Public(), roots: roots, cfg: settled, clock: clock, last: clock(),
		seen: newSightings(), wake: make(chan struct{}, 1), done: make(chan struct{}),
		hosts:    overlaps(settled.Pool),
		sessions: make(map[string]*held), closed: make(map[string]tombstone),
		noted: make(refusals), counts: newCounts(),
		keys: make(map[keys.PublicKey]string), addresses: make(map[netip.Addr]string),
	}
	if err := n.openJournal(); err != nil {
		return nil, err
	}
	if err := n.listen(key, opener); err != nil {
		return nil, errors.Join(err, n.closeJournal())
	}
	n.legs = newLegs(n, key)
	if err := n.resume(); err != nil {
		return nil, errors.Join(err, n.plane.Leave(), n.closeJournal()) // the next try finds all of it
	}
	if len(n.hosts) > 0 {
		n.cfg.Logger.Warn("tunnel addresses overlap this host's own", zap.Stringer("pool", n.cfg.Pool), zap.Stringers("host", n.hosts))
	}
	n.loop.Go(n.run)
	n.cfg.Logger.Info("node is up", zap.Uint16("port", n.port), zap.String("key", n.key.String()), zap.Stringer("proof", n.cfg.Proof))
	return n, nil
}

// resume goes on with what a former process of this node had in force.
func (n *Node) resume() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.journal != nil {
		n.recall(n.journal.All())
	}
	if err := n.plane.Settle(); err != nil {
		n.legs.close()
		return fmt.Errorf("gateway: what a former process left: %w", err)
	}
	n.callAll()
	return nil
}

// listen opens the plane: on the configured port, or on the one used last, so
// that peers find a restarted node where it was, or on any.
func (n *Node) listen(key keys.PrivateKey, opener opener) error {
	port := n.cfg.Listen
	last := lastPort(n.cfg.Store)
	if port == 0 {
		port = last
	}
	p, err := opener(n, key, port)
	if err != nil && n.cfg.Listen == 0 && last != 0 && !errors.Is(err, errors.ErrUnsupported) {
		p, err = opener(n, key, 0)
	}
	if err != nil {
		return err
	}
	n.plane = p
	if n.port, n.entry, err = p.Ports(); err == nil && n.cfg.Listen == 0 && n.port != last {
		err = n.cfg.Store.Save(namePort, []byte(strconv.Itoa(int(n.port))))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("gateway: keep the node's port: %w", err), p.Leave())
	}
	return nil
}

// Close ends every session here, without telling control: it sends them again to
// a node that comes back, which may know them from its Journal too. It waits for the node's goroutines and is idempotent;
// Follow then returns net.ErrClosed.
func (n *Node) Close() error {
	n.once.Do(func() {
		n.mu.Lock()
		n.shut = true
		n.legs.close()
		n.mu.Unlock()
		close(n.done)
		n.loop.Wait()
		n.legs.work.Wait()
		n.fault = errors.Join(n.plane.Close(), n.closeJournal())
	})
	return n.fault
}

// FarEnd is what a grant says of this node.
func (n *Node) FarEnd() keys.FarEnd {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := keys.FarEnd{Node: n.name, Key: n.key, Endpoints: n.endpoints(n.cfg.Endpoints, n.port), Proof: n.cfg.Proof}
	switch {
	case n.entry == n.port:
	case len(n.cfg.OperatorEndpoints) > 0:
		f.OperatorEndpoints = n.endpoints(n.cfg.OperatorEndpoints, n.entry)
	default:
		for _, e := range f.Endpoints {
			f.OperatorEndpoints = append(f.OperatorEndpoints, netip.AddrPortFrom(e.Addr(), n.entry))
		}
	}
	return f
}

// endpoints completes configured ones with the port of this node, and finds some
// where none are.
func (n *Node) endpoints(configured []netip.AddrPort, port uint16) []netip.AddrPort {
	if len(configured) == 0 {
		return hostEndpoints(n.cfg.Pool, port)
	}
	list := slices.Clone(configured)
	for i, e := range list {
		if e.Port() == 0 {
			list[i] = netip.AddrPortFrom(e.Addr(), port)
		}
	}
	return list
}

// Sessions are the sessions in force, by id.
func (n *Node) Sessions() []Session {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]Session, 0, len(n.sessions))
	for id, h := range n.sessions {
		c := n.plane.Counters(id)
		list = append(list, Session{
			ID: id, Rev: h.grant.Rev, Device: h.grant.Device,
			Addresses: slices.Clone(h.grant.Addresses), Operators: len(h.grant.Operators),
			Installed: h.installed, Handshake: h.handshake, Proved: h.proved, End: h.grant.End,
			Rx: c.Rx, Tx: c.Tx,
		})
	}
	slices.SortFunc(list, func(a, b Session) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// emit logs an event and passes it on; n.mu is held, which keeps their order.
func (n *Node) emit(e Event) {
	fields := []zap.Field{zap.String("session", e.Session), zap.Int("rev", e.Rev)}
	if e.Code != "" {
		fields = append(fields, zap.String("code", e.Code))
	}
	if e.Kind != KindRefused {
		n.cfg.Logger.Info(e.Kind, fields...)
	} else if silent, ok := n.noted.log(e.Code, n.clock().mono); ok {
		n.cfg.Logger.Warn("refused", append(fields, zap.Int("before", silent))...)
	}
	n.cfg.Observe(e)
	n.out.add(e)
}

// usable returns net.ErrClosed after Close.
func (n *Node) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.shut {
		return net.ErrClosed
	}
	return nil
}
