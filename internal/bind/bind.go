package bind

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

// prefix begins the text of a peer's endpoint.
const prefix = "peer:"

// Config is a Bind's. The zero value begins handshakes at once.
type Config struct {
	// HoldInitiation is how long an own initiation waits for the far end's, at the
	// first handshake and after a change of the path. Set it at the one of two ends
	// that should not begin. Default 0: not at all.
	HoldInitiation time.Duration
	// Adopted is called when WireGuard has found a peer at an address that was not
	// its; the peer's path leads there already. It is called within a send of the
	// device: it must not block nor call the device. Default nil.
	Adopted func(peer string, addr netip.AddrPort)
	// OnReceiveError is called with every error of a receiver that goes on after it.
	// It must not block. Default nil.
	OnReceiveError func(error)
}

// A Bind is the sockets of one WireGuard device. Its methods are safe for
// concurrent use; Open and Close belong to the device.
type Bind struct {
	inner    conn.Bind
	cfg      Config
	start    time.Time
	table    *table
	count    atomic.Int64 // of peers
	port     atomic.Uint32
	diverted atomic.Pointer[packetConn]
	waiting  atomic.Int64 // peers whose response is unconfirmed
	streams  streamQueue

	mu     sync.Mutex
	peers  map[string]*Peer
	added  uint64
	local  map[uint32]*Peer // by the indices that our ends chose
	remote map[uint32]*Peer // by those that the far ends chose
	copies copies
	plain  bool          // the device was given an endpoint that is no peer's
	closed chan struct{} // ends the receivers; nil: not open
}

var _ conn.Bind = (*Bind)(nil)

// New wraps inner, or what WireGuard uses on this system if that is nil.
func New(inner conn.Bind, cfg Config) *Bind {
	if inner == nil {
		inner = Default()
	}
	return &Bind{
		inner:   inner,
		cfg:     cfg,
		start:   time.Now(),
		peers:   make(map[string]*Peer),
		table:   newTable(),
		local:   make(map[uint32]*Peer),
		remote:  make(map[uint32]*Peer),
		copies:  newCopies(),
		streams: streamQueue{wake: make(chan struct{}, 1)},
	}
}

// now is the Bind's clock; at turns it into a time, the zero time for 0.
func (b *Bind) now() time.Duration { return time.Since(b.start) }

func (b *Bind) at(now int64) time.Time {
	if now == 0 {
		return time.Time{}
	}
	return b.start.Add(time.Duration(now))
}

// Open opens the inner Bind. A closed Bind may be opened again.
func (b *Bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	fns, actual, err := b.inner.Open(port)
	if err != nil {
		return nil, 0, fmt.Errorf("bind: open port %d: %w", port, err)
	}
	b.closed = make(chan struct{})
	b.port.Store(uint32(actual))
	b.streams.clear() // what came while nobody took it is old
	for i, fn := range fns {
		fns[i] = (&receiver{bind: b, fn: fn, closed: b.closed}).receive
	}
	return append(fns, (&streamReceiver{bind: b, closed: b.closed}).receive), actual, nil
}

// Close closes the inner Bind, unblocks the receivers and the PacketConn with
// net.ErrClosed, and drops the handshake messages that wait. It may be called
// before Open and more than once. Peers and paths stay.
func (b *Bind) Close() error {
	b.mu.Lock()
	if b.closed == nil {
		b.mu.Unlock()
		return nil
	}
	close(b.closed)
	b.closed = nil
	b.port.Store(0)
	err := b.inner.Close()
	peers := make([]*Peer, 0, len(b.peers))
	for _, p := range b.peers {
		peers = append(peers, p)
	}
	b.mu.Unlock()
	for _, p := range peers {
		p.rest(false)
	}
	if c := b.diverted.Load(); c != nil {
		_ = c.Close()
	}
	if err != nil {
		return fmt.Errorf("bind: close: %w", err)
	}
	return nil
}

// Port returns the UDP port that the Bind is open on, 0 while it is not.
func (b *Bind) Port() uint16 { return uint16(b.port.Load()) }

// Send sends packets to an endpoint of ParseEndpoint or of a receiver. Packets
// to a peer without a path are kept or dropped without an error.
func (b *Bind) Send(bufs [][]byte, ep conn.Endpoint) error {
	if e, ok := ep.(*endpoint); ok {
		return e.peer.send(bufs)
	}
	return b.sendRaw(bufs, ep)
}

// transmit sends packets out of the socket. Packets of a batch that the kernel
// refuses to segment, because they exceed the path MTU that it knows (EMSGSIZE,
// EINVAL before Linux 6.13), go again one by one, which it fragments.
func (b *Bind) transmit(bufs [][]byte, ep conn.Endpoint) error {
	err := b.inner.Send(bufs, ep)
	if err == nil || len(bufs) < 2 || !errors.Is(err, syscall.EMSGSIZE) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	err = nil
	for i := range bufs {
		if e := b.inner.Send(bufs[i:i+1], ep); e != nil {
			err = e
		}
	}
	return err
}

// ParseEndpoint returns the endpoint of the peer that "peer:ID" names, or the
// inner Bind's endpoint of any other text.
func (b *Bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id, ok := strings.CutPrefix(s, prefix)
	if !ok {
		b.plain = true
		return b.inner.ParseEndpoint(s)
	}
	if p := b.peers[id]; p != nil {
		return p.ep, nil
	}
	return nil, fmt.Errorf("bind: no peer %q", id)
}

// SetMark sets the inner Bind's mark.
func (b *Bind) SetMark(mark uint32) error { return b.inner.SetMark(mark) }

// BatchSize returns the inner Bind's.
func (b *Bind) BatchSize() int { return b.inner.BatchSize() }
