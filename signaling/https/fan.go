package https

import (
	"slices"
	"sync"

	"github.com/boothwire/boothwire/signaling"
)

// A reader of statuses may lag by fanDepth messages: with two for each of 10,000 devices
// a fleet that comes back at once fits, at 4 KiB each 80 MiB at the very worst.
const fanDepth = 20_000

// fan hands each status to every reader.
type fan struct {
	mu      sync.Mutex
	readers []chan signaling.Message
}

func (f *fan) join() chan signaling.Message {
	// The channel's own array is small beside what fills it: 48 bytes a place.
	c := make(chan signaling.Message, fanDepth)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers = append(f.readers, c)
	return c
}

func (f *fan) leave(c chan signaling.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers = slices.DeleteFunc(f.readers, func(o chan signaling.Message) bool { return o == c })
}

// send gives m to all readers, or to none: false when there is none or one is full. Only
// send fills the channels, under mu, so a place that is free stays free.
func (f *fan) send(m signaling.Message) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.readers) == 0 || slices.ContainsFunc(f.readers, func(c chan signaling.Message) bool { return len(c) == cap(c) }) {
		return false
	}
	for _, c := range f.readers {
		c <- m
	}
	return true
}
