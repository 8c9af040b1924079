package server

import (
	"net/netip"
	"slices"
	"sync"
)

// A hall is where connections wait that have proved nothing. When its door is full,
// whoever has the most of them there makes room for somebody who has fewer: sixteen
// addresses that only connect cannot keep a fleet out.
type hall struct {
	door
	changed chan struct{} // of one: there is room again, or somebody waits outside

	waits  sync.Mutex
	crowds map[netip.Prefix][]*visitor // by crowd, the first to come first
	sizes  sizes                       // of these
}

func newHall(max, perIP int) *hall {
	return &hall{door: door{max: max, perIP: perIP}, changed: make(chan struct{}, 1), crowds: make(map[netip.Prefix][]*visitor)}
}

// look has whoever waits for a change see what there is now.
func (h *hall) look() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

type visitor struct {
	from  netip.Prefix
	out   sync.Once
	close func()
}

// enter lets one more in, which close shows out again; leave is for when it has proved
// its key or is gone, and may be called more than once.
func (h *hall) enter(from netip.Prefix, close func()) (leave func(), ok bool) {
	if !h.door.enter(from) && !(h.makeRoom(from) && h.door.enter(from)) {
		return nil, false
	}
	in, v := crowd(from), &visitor{from: from, close: close}
	h.waits.Lock()
	defer h.waits.Unlock()
	h.crowds[in] = append(h.crowds[in], v)
	h.sizes.change(in, 1)
	return func() { h.leave(v) }, true
}

// leave reports whether v was still there.
func (h *hall) leave(v *visitor) (was bool) {
	v.out.Do(func() {
		was = true
		h.door.leave(v.from)
		in := crowd(v.from)
		h.waits.Lock()
		defer h.waits.Unlock()
		h.crowds[in] = slices.DeleteFunc(h.crowds[in], func(o *visitor) bool { return o == v })
		if len(h.crowds[in]) == 0 {
			delete(h.crowds, in)
		}
		h.sizes.change(in, -1)
		h.look()
	})
	return was
}

// makeRoom shows out the longest there of the largest crowd, unless from's own is as
// large, or has all the places that one address gets.
func (h *hall) makeRoom(from netip.Prefix) bool {
	if !h.door.full(from) {
		return false
	}
	h.waits.Lock()
	in, n := h.sizes.largest()
	var out *visitor
	if n > len(h.crowds[crowd(from)])+1 { // else one more would only turn it round
		out = h.crowds[in][0]
	}
	h.waits.Unlock()
	if out == nil || !h.leave(out) {
		return false
	}
	out.close()
	return true
}

// closed reports whether nobody at all may enter: it is full, and nobody in it has to
// make room.
func (h *hall) closed() bool {
	h.waits.Lock()
	defer h.waits.Unlock()
	_, n := h.sizes.largest()
	return h.count() >= h.max && n < 2
}
