package userspace

import (
	"strings"
	"sync"

	"go.uber.org/zap"
	"golang.zx2c4.com/wireguard/device"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// watch learns from wireguard-go's log what it has no other call for: that a
// handshake with a device began or was answered, that a pending key sent its first packet, and that a
// peer used an address that is not its own. Each such line names its peer, by
// pointer. A line that upstream rewords costs the event, never a packet: a
// pending key is then promoted when its patience ends.
type watch struct {
	plane *Plane
	log   *zap.Logger

	running sync.WaitGroup

	mu     sync.RWMutex
	keys   map[[32]byte]*device.Peer
	owners map[*device.Peer]owner
}

type owner struct {
	session   string
	key       [32]byte
	pending   bool // not yet the device's
	leaving   bool // the device's until another proves itself
	promoting bool // and about to be
}

func newWatch(p *Plane, l *zap.Logger) *watch {
	return &watch{plane: p, log: l, keys: make(map[[32]byte]*device.Peer), owners: make(map[*device.Peer]owner)}
}

// add watches the peer with o's key, which is in the device already.
func (w *watch) add(o owner) {
	peer := w.plane.device.LookupPeer(device.NoisePublicKey(o.key))
	if peer == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys[o.key] = peer
	w.owners[peer] = o
}

func (w *watch) forget(key [32]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.owners, w.keys[key])
	delete(w.keys, key)
}

// renew watches a key whose peer was put in anew, if it was watched.
func (w *watch) renew(key [32]byte) {
	w.mu.Lock()
	o, ok := w.owners[w.keys[key]]
	w.mu.Unlock()
	if ok {
		w.forget(key)
		o.promoting = false
		w.add(o)
	}
}

func (w *watch) logger() *device.Logger {
	return &device.Logger{Verbosef: w.verbose, Errorf: w.fault}
}

// verbose sees each line of wireguard-go's log below an error.
func (w *watch) verbose(format string, args ...any) {
	foreign := strings.HasSuffix(format, "packet with disallowed source address from %v")
	keepalive := format == "%v - Receiving keepalive packet"
	handshake := format == "%v - Received handshake initiation" || format == "%v - Received handshake response"
	if !foreign && !keepalive && !handshake || len(args) != 1 {
		return
	}
	peer, ok := args[0].(*device.Peer)
	if !ok {
		return
	}
	if handshake {
		w.plane.calls.answered(peer)
	}
	w.mu.RLock()
	o, ok := w.owners[peer]
	w.mu.RUnlock()
	switch {
	case handshake && ok && !o.leaving && w.plane.cfg.Handshake != nil:
		w.plane.cfg.Handshake(o.session)
	case (foreign || keepalive) && ok && o.pending:
		w.proven(peer)
	case foreign:
		w.plane.tally.Add(reach.Spoofed, 1)
	}
}

// proven promotes a pending key, once, and on a goroutine of its own: the caller's
// is the peer's receiver, which the removal of a peer may have to wait for.
func (w *watch) proven(peer *device.Peer) {
	w.mu.Lock()
	o := w.owners[peer]
	first := o.pending && !o.promoting
	if first {
		o.promoting = true
		w.owners[peer] = o
	}
	w.mu.Unlock()
	if first {
		w.running.Go(func() { w.plane.promote(o.session, o.key) })
	}
}

// wait returns when no promotion runs; for after the device was closed.
func (w *watch) wait() { w.running.Wait() }

func (w *watch) fault(format string, args ...any) {
	w.log.Sugar().Debugf("wireguard: "+format, args...)
}
