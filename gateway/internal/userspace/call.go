package userspace

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/device"
)

// callEvery spreads calls to 250 a second: answers beyond that would put a node under
// load, and whoever has something to send comes by himself.
const callEvery = 4 * time.Millisecond

// callFor is how long a peer may take to answer: until after WireGuard's first repeat,
// at 5 s. A peer that is gone would cost an initiation every 5 s for a minute and a half.
const callFor = 7 * time.Second

// call is a peer that is to be spoken to first, because it believes in keys that a
// former process of this node had.
type call struct {
	session string
	key     [32]byte
	at      netip.AddrPort // where it was heard last
}

// calls are those that were not answered yet.
//
//	asked -> called -> answered
//	   |         \-> given up: its endpoint is forgotten, it has to come by itself
//	   \-> it came by itself
type calls struct {
	stop chan struct{}
	once sync.Once // of closing stop

	mu   sync.Mutex
	out  map[*device.Peer]call
	turn time.Time // when the next call may go out
}

// Heard returns where each peer was heard last, of those that were.
func (p *Plane) Heard() map[[32]byte]netip.AddrPort {
	text, err := p.device.IpcGet()
	if err != nil {
		return nil
	}
	heard := make(map[[32]byte]netip.AddrPort)
	var key [32]byte
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		switch name {
		case "public_key":
			if n, err := hex.Decode(key[:], []byte(value)); err != nil || n != len(key) {
				return nil
			}
		case "endpoint":
			if a, err := netip.ParseAddrPort(value); err == nil {
				heard[key] = a
			}
		}
	}
	return heard
}

// Call begins a handshake with a session's peer at the address at which a former
// process heard it last. It does not wait: calls go out one after the other, and not
// to peers that came by themselves in the meantime.
func (p *Plane) Call(session string, key [32]byte, at netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	peer := p.device.LookupPeer(device.NoisePublicKey(key))
	if p.closed || peer == nil {
		return
	}
	p.calls.mu.Lock()
	defer p.calls.mu.Unlock()
	if p.calls.out == nil {
		p.calls.out = make(map[*device.Peer]call)
	}
	p.calls.out[peer] = call{session, key, at}
	now := time.Now()
	if p.calls.turn.Before(now) {
		p.calls.turn = now
	}
	wait := p.calls.turn.Sub(now)
	p.calls.turn = p.calls.turn.Add(callEvery)
	p.watch.running.Go(func() {
		if p.calls.pause(wait) && p.call(peer) && p.calls.pause(callFor) {
			p.giveUp(peer)
		}
	})
}

// pause reports whether the plane is still open after d.
func (c *calls) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.stop:
		return false
	}
}

// answered notes that a peer's handshake came.
func (c *calls) answered(peer *device.Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.out, peer)
}

// waiting returns the call to peer, unless it was answered.
func (c *calls) waiting(peer *device.Peer) (call, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.out[peer]
	return o, ok
}

// call sends an initiation, unless the peer came or went meanwhile.
func (p *Plane) call(peer *device.Peer) bool {
	p.mu.Lock()
	o, ok := p.calls.waiting(peer)
	if ok = ok && !p.closed && p.device.LookupPeer(device.NoisePublicKey(o.key)) == peer; ok {
		err := p.device.IpcSet(fmt.Sprintf("public_key=%s\nupdate_only=true\nendpoint=%s\n", hex.EncodeToString(o.key[:]), o.at))
		ok = err == nil
	}
	p.mu.Unlock()
	if !ok {
		p.calls.answered(peer)
		return false
	}
	_ = peer.SendHandshakeInitiation(false) // a socket that refuses is the same as silence
	return true
}

// giveUp puts a peer that did not answer in anew, as one that was never heard.
func (p *Plane) giveUp(peer *device.Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, ok := p.calls.waiting(peer)
	p.calls.answered(peer)
	s := p.sessions[o.session]
	if !ok || s == nil || p.closed || p.device.LookupPeer(device.NoisePublicKey(o.key)) != peer {
		return
	}
	var c change
	c.remove(o.key)
	switch {
	case s.turn.Key == o.key:
		c.add(o.key, s.now.Device.Addresses...)
	case s.turn.Next != nil && *s.turn.Next == o.key:
		c.add(o.key)
	}
	for _, op := range s.now.Operators {
		if op.Key == o.key {
			c.add(o.key, op.Address)
		}
	}
	if err := p.device.IpcSet(c.String()); err != nil {
		p.remove(o.session)
		return
	}
	p.watch.renew(o.key)
}
