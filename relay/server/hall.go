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

type visitor struct{ leave, close func() }

// crowd is who counts as one when it comes to making room: of IPv6, what a customer of
// a provider gets, which is thousands of networks.
func crowd(from netip.Prefix) netip.Prefix {
	if from.Addr().Is6() {
		from, _ = from.Addr().Prefix(48)
	}
	return from
}

// enter lets one more in, which close shows out again; leave is for when it has proved
// its key or is gone, and may be called more than once.
func (h *hall) enter(from netip.Prefix, close func()) (leave func(), ok bool) {
	if !h.door.enter(from) {
		out := h.mostCrowded(from)
		if out == nil {
			return nil, false
		}
		out.leave()
		out.close()
		if !h.door.enter(from) {
			return nil, false
		}
	}
	in, v := crowd(from), &visitor{close: close}
	v.leave = sync.OnceFunc(func() {
		h.door.leave(from)
		h.waits.Lock()
		defer h.waits.Unlock()
		h.crowds[in] = slices.DeleteFunc(h.crowds[in], func(o *visitor) bool { return o == v })
		if len(h.crowds[in]) == 0 {
			delete(h.crowds, in)
		}
		h.look()
	})
	h.waits.Lock()
	defer h.waits.Unlock()
	h.crowds[in] = append(h.crowds[in], v)
	return v.leave, true
}

// mostCrowded is the longest there of the largest crowd, nil where from's own is as
// large or has all the places that one address gets.
func (h *hall) mostCrowded(from netip.Prefix) *visitor {
	if !h.door.full(from) {
		return nil
	}
	h.waits.Lock()
	defer h.waits.Unlock()
	largest := h.crowds[crowd(from)]
	own := len(largest)
	for _, c := range h.crowds {
		if len(c) > len(largest) {
			largest = c
		}
	}
	if len(largest) <= own+1 { // one more would only turn it round
		return nil
	}
	return largest[0]
}
