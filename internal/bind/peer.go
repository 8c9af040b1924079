package bind

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

// knownBefore is how many former addresses of a peer stay known, so that packets
// still under way from there do not make WireGuard roam back.
const knownBefore = 8

// A Peer is one far end of a Bind's device: configure it with
// "endpoint=peer:ID". Its methods are safe for concurrent use.
type Peer struct {
	bind *Bind
	id   string
	ep   *endpoint
	path atomic.Pointer[path] // nil: none

	rxPackets, rxBytes, rxDropped, txPackets, txBytes, dropped atomic.Uint64
	lastRx, lastTx                                             atomic.Int64

	// Lock order: Bind.mu, then mu.
	mu        sync.Mutex
	handshake handshake
	timer     *time.Timer // of handshake.next
	waiting   bool        // counted in Bind.waiting
	removed   bool

	// Guarded by Bind.mu.
	sources       []*source // the newest last, those of the path among them
	streams       []*stream // those that are not over
	local, remote []uint32  // indices of its handshakes, the newest last
}

// A path is where a peer's packets go. It is never changed, only replaced.
type path struct {
	primary leg
	also    leg // in doubt: gets a copy of everything; no source: none
}

// A leg is one route of a path.
type leg struct {
	ep  conn.Endpoint // the inner Bind's; nil: a stream's
	src *source
}

// route is where l leads.
func (l leg) route() Route {
	if l.src == nil {
		return Route{}
	}
	return Route{addr: l.src.addr, stream: l.src.stream}
}

// along sends packets by l.
func (b *Bind) along(l leg, bufs [][]byte) error {
	if l.ep == nil {
		return l.src.stream.send(bufs)
	}
	return b.transmit(bufs, l.ep)
}

// Stats counts what passed between a Bind and a peer. Received packets are
// counted by their source before WireGuard authenticates them.
type Stats struct {
	RxPackets, RxBytes uint64
	RxDropped          uint64    // packets of streams that the device was too slow to take
	TxPackets, TxBytes uint64    // once a packet, also when it goes to two addresses
	Dropped            uint64    // packets to send while there was no path
	LastRx, LastTx     time.Time // zero: never
}

// Stats returns the counters as they are now.
func (p *Peer) Stats() Stats {
	return Stats{
		RxPackets: p.rxPackets.Load(), RxBytes: p.rxBytes.Load(), RxDropped: p.rxDropped.Load(),
		TxPackets: p.txPackets.Load(), TxBytes: p.txBytes.Load(),
		Dropped: p.dropped.Load(),
		LastRx:  p.bind.at(p.lastRx.Load()), LastTx: p.bind.at(p.lastTx.Load()),
	}
}

// SetPath sends everything to addr from now on.
func (p *Peer) SetPath(addr netip.AddrPort) { p.SetPaths(addr, netip.AddrPort{}) }

// SetPaths sends everything to primary from now on, and a copy to also unless
// that is invalid; WireGuard at the far end drops the second of two copies. An
// invalid primary is ClearPath. Former addresses stay known, the last eight: what
// still comes from there does not make WireGuard roam back. An initiation that
// waits for a path, or for an answer, leaves for the new addresses at once.
func (p *Peer) SetPaths(primary, also netip.AddrPort) { p.SetRoutes(At(primary), At(also)) }

// SetRoutes is SetPaths for routes of any kind. A stream that is over, or another
// peer's, is none: also then is the primary one.
func (p *Peer) SetRoutes(primary, also Route) {
	p.bind.setPaths(p, false, func(Route, Route) (Route, Route) { return primary, also })
}

// ClearPath leaves the peer without a path: initiations are kept, all else is
// dropped. Its addresses stay known.
func (p *Peer) ClearPath() { p.SetPaths(netip.AddrPort{}, netip.AddrPort{}) }

// Path returns the address where the peer is, as Route does; invalid also while it is
// behind a stream.
func (p *Peer) Path() netip.AddrPort { return p.Route().addr }

// Route returns where the peer is: of the routes that packets go to, the one that its
// newest packet came by, else the primary one. It is none while there is no path. When
// WireGuard has roamed, the address is the one that it roamed to: all others are
// unknown then, so that it can roam on.
func (p *Peer) Route() Route {
	pa := p.path.Load()
	switch {
	case pa == nil:
		return Route{}
	case pa.also.src != nil && pa.also.src.rx.Load() > pa.primary.src.rx.Load():
		return pa.also.route()
	}
	return pa.primary.route()
}

// Paths returns the addresses that packets go to, as SetPaths or WireGuard's
// roaming left them.
func (p *Peer) Paths() (primary, also netip.AddrPort) {
	a, b := p.Routes()
	return a.addr, b.addr
}

// Routes is Paths for routes of any kind.
func (p *Peer) Routes() (primary, also Route) {
	pa := p.path.Load()
	if pa == nil {
		return primary, also
	}
	return pa.primary.route(), pa.also.route()
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// send sends what the device has for the peer.
func (p *Peer) send(bufs [][]byte) error {
	if len(bufs) == 1 {
		if k := handshakeKind(bufs[0]); k != kindOther {
			return p.sendHandshake(k, bufs[0])
		}
	}
	return p.write(bufs)
}

// write sends packets along the path.
func (p *Peer) write(bufs [][]byte) error {
	pa := p.path.Load()
	if pa == nil {
		p.dropped.Add(uint64(len(bufs)))
		return nil
	}
	err := p.bind.along(pa.primary, bufs)
	if pa.also.src != nil {
		// One that works is enough.
		if errAlso := p.bind.along(pa.also, bufs); errAlso == nil {
			err = nil
		}
	}
	bytes := 0
	for _, b := range bufs {
		bytes += len(b)
	}
	p.txPackets.Add(uint64(len(bufs)))
	p.txBytes.Add(uint64(bytes))
	p.lastTx.Store(int64(p.bind.now()))
	return err
}

// sendHandshake sends an initiation or a response when it is time.
func (p *Peer) sendHandshake(k kind, msg []byte) error {
	p.bind.learn(p, k, msg)
	p.mu.Lock()
	if p.removed {
		p.mu.Unlock()
		return nil
	}
	now, send := p.bind.now(), true
	if k == kindInitiation {
		send = p.handshake.initiate(now, msg)
	} else {
		p.handshake.respond(now, msg)
	}
	p.arm(now)
	p.mu.Unlock()
	if !send {
		return nil
	}
	return p.write([][]byte{msg})
}

// arm sets the timer to the machine's next step; p.mu is held.
func (p *Peer) arm(now time.Duration) {
	at, ok := p.handshake.next()
	if w := p.handshake.responding; w != p.waiting {
		p.waiting = w
		if w {
			p.bind.waiting.Add(1)
		} else {
			p.bind.waiting.Add(-1)
		}
	}
	switch {
	case !ok:
		if p.timer != nil {
			p.timer.Stop()
		}
	case p.timer == nil:
		p.timer = time.AfterFunc(at-now, p.fire)
	default:
		p.timer.Reset(at - now)
	}
}

// fire is the timer's.
func (p *Peer) fire() {
	p.mu.Lock()
	if p.removed {
		p.mu.Unlock()
		return
	}
	now := p.bind.now()
	initiation, response := p.handshake.step(now)
	initiation, response = slices.Clone(initiation), slices.Clone(response)
	p.arm(now)
	p.mu.Unlock()
	// An error would be the host's network; the next repeat tries again.
	if initiation != nil {
		_ = p.write([][]byte{initiation})
	}
	if response != nil {
		_ = p.write([][]byte{response})
	}
}

// pathChanged tells the machine and returns what is to be sent now, if anything.
func (p *Peer) pathChanged(hasPath, moved, added bool) (msg []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.removed {
		return nil
	}
	now := p.bind.now()
	if p.handshake.pathChange(now, hasPath, moved, added) {
		msg = slices.Clone(p.handshake.initiation[:])
	}
	p.arm(now)
	return msg
}

// abandon drops the initiation: the device has begun to respond.
func (p *Peer) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handshake.abandon()
	p.arm(p.bind.now())
}

// answered and confirmed tell the machine what has arrived.
func (p *Peer) answered(index uint32) { p.tell((*handshake).answered, index) }

func (p *Peer) confirmed(index uint32) { p.tell((*handshake).confirmed, index) }

func (p *Peer) tell(event func(*handshake, uint32) bool, index uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.removed && event(&p.handshake, index) {
		p.arm(p.bind.now())
	}
}

// rest drops all that waits to be sent: the Bind was closed, or the peer removed.
func (p *Peer) rest(removed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removed = p.removed || removed
	p.handshake.forget()
	p.arm(p.bind.now())
}
