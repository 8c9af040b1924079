package reach

import (
	"net/netip"
	"time"

	"github.com/boothwire/boothwire/internal/packet"
)

// How long a flow without packets is remembered.
const (
	tcpIdle    = 2*time.Hour + 4*time.Minute // RFC 5382, REQ-5: established
	tcpOpening = 4 * time.Minute             // RFC 5382, REQ-5: transitory
	tcpClosing = 4 * time.Minute             // the same: both sides said FIN, or one RST
	udpIdle    = 5 * time.Minute             // RFC 4787, REQ-5: the recommended value
	echoIdle   = 60 * time.Second            // RFC 5508, REQ-2
)

// maxFlows bounds what one tunnel remembers: a browser holds a few dozen
// connections; 4,096 entries take some 350 KB.
const maxFlows = 4096

// sweepEvery is how often a new flow makes the table forget expired ones.
const sweepEvery = 10 * time.Second

// key names a flow from this end's side.
type key struct {
	remote, own         [16]byte
	remotePort, ownPort uint16 // of an echo: 0 and its identifier
	proto               uint8
}

type state uint8

const (
	answered state = 1 << iota // packets went both ways
	finIn
	finOut
	reset
)

type flow struct {
	key   key
	last  time.Duration
	state state
}

func (f *flow) expired(now time.Duration) bool {
	idle := now - f.last
	switch f.key.proto {
	case packet.TCP:
		switch {
		case f.state&reset != 0 || f.state&(finIn|finOut) == finIn|finOut:
			return idle > tcpClosing
		case f.state&answered == 0:
			return idle > tcpOpening
		}
		return idle > tcpIdle
	case packet.UDP:
		return idle > udpIdle
	}
	return idle > echoIdle
}

// flows is the bounded table of what may be replied to.
type flows struct {
	index map[key]int32
	table []flow
	swept time.Duration
}

// keyOf is the flow that a packet belongs to, whichever way it goes.
func keyOf(p *packet.Info, in bool) key {
	k := key{proto: p.Proto}
	if in {
		k.remote, k.own = p.Src.As16(), p.Dst.As16()
		k.remotePort, k.ownPort = p.SrcPort, p.DstPort
	} else {
		k.remote, k.own = p.Dst.As16(), p.Src.As16()
		k.remotePort, k.ownPort = p.DstPort, p.SrcPort
	}
	if p.Proto == packet.ICMP || p.Proto == packet.ICMPv6 {
		k.ownPort = p.ID
	}
	return k
}

// find returns the live flow of k, nil when there is none.
func (t *flows) find(k *key, now time.Duration) *flow {
	i, ok := t.index[*k]
	if !ok {
		return nil
	}
	f := &t.table[i]
	if f.expired(now) {
		t.remove(i)
		return nil
	}
	return f
}

// add makes a flow for k, which is not in the table; nil when the table is full
// of live ones.
func (t *flows) add(k *key, now time.Duration) *flow {
	if t.index == nil {
		t.index = make(map[key]int32)
	}
	full := len(t.table) >= maxFlows
	if now-t.swept > sweepEvery || full && now > t.swept {
		t.sweep(now)
		full = len(t.table) >= maxFlows
	}
	if full {
		return nil
	}
	t.index[*k] = int32(len(t.table))
	t.table = append(t.table, flow{key: *k, last: now})
	return &t.table[len(t.table)-1]
}

func (t *flows) sweep(now time.Duration) {
	t.swept = now
	t.keep(func(f *flow) bool { return !f.expired(now) })
}

// keep removes every flow that ok refuses.
func (t *flows) keep(ok func(*flow) bool) {
	for i := int32(len(t.table)) - 1; i >= 0; i-- {
		if !ok(&t.table[i]) {
			t.remove(i)
		}
	}
}

// remove moves the last flow into the gap.
func (t *flows) remove(i int32) {
	last := int32(len(t.table)) - 1
	delete(t.index, t.table[i].key)
	if i != last {
		t.table[i] = t.table[last]
		t.index[t.table[i].key] = i
	}
	t.table = t.table[:last]
}

// addrs gives the key's addresses back.
func (k *key) addrs() (remote, own netip.Addr) {
	return netip.AddrFrom16(k.remote).Unmap(), netip.AddrFrom16(k.own).Unmap()
}
