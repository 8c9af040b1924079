// Package place decides which node takes a session. It is pure: what is known of the
// nodes comes in, a name goes out.
package place

import (
	"hash/fnv"
	"math"
)

// Node is a node that may take a session: it is there, and nothing speaks against it.
type Node struct {
	Name, Region string
	Capacity     int // sessions that it may hold
	Load         int // sessions that it holds
}

func (n Node) free() int { return n.Capacity - n.Load }

// used is how full n is, 0 to 1.
func (n Node) used() float64 { return float64(n.Load) / float64(n.Capacity) }

// Want is whose session it is.
type Want struct {
	Device string
	Region string // "": any is as good
	Last   string // the node that the device was at last; "": none
}

// lopsided is how much fuller than the emptiest node the last one may be for a device
// to come back to it. Without a bound a node that is added would stay empty.
const lopsided = 0.25

// Choose names the node for a session: one of the device's region if one there has
// room, the one that it was at last if that is not much fuller than others, and
// otherwise that of a rendezvous hash of device and nodes, weighted by their room. Each
// device so has an order of nodes of its own, which changes for few when one comes or
// goes. ok is false when no node has room.
func Choose(nodes []Node, w Want) (name string, ok bool) {
	local := false
	for _, n := range nodes {
		local = local || n.free() > 0 && n.Region == w.Region
	}
	least, best, last := math.Inf(1), math.Inf(-1), math.Inf(1)
	for _, n := range nodes {
		if n.free() <= 0 || local && n.Region != w.Region {
			continue
		}
		least = min(least, n.used())
		if n.Name == w.Last {
			last = n.used()
		}
		s := score(w.Device, n)
		if s > best || s == best && n.Name < name {
			best, name, ok = s, n.Name, true
		}
	}
	if ok && last <= least+lopsided {
		return w.Last, true
	}
	return name, ok
}

// score is weighted rendezvous hashing: of the nodes the one wins whose exponential
// variate, drawn from device and node with the room as its rate, is the smallest, which
// each does with a chance in proportion to its room.
func score(device string, n Node) float64 {
	h := fnv.New64a()
	h.Write([]byte(device))
	h.Write([]byte{0})
	h.Write([]byte(n.Name))
	u := (float64(mix(h.Sum64())>>11) + 0.5) / (1 << 53)
	return float64(n.free()) / -math.Log(u)
}

// mix spreads FNV's bits, of which the high ones hardly change with the last letters
// (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
