//go:build linux

package rdptest

import (
	"hash/maphash"
	"os"
	"sync/atomic"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
)

// slideshow draws a picture of another colour each fifth of a second.
const slideshow = `i=0
while :; do
	i=$((i + 1))
	printf '\033[48;5;%dm\033[2J\033[4;6H\033[1;38;5;16mPhoto %d of 24\033[8;6HTouch the one that you want to print' $((17 + i * 7 % 200)) $((1 + i % 24))
	sleep 0.2
done`

// Customer fills the screen with what a customer browses: a picture that changes five
// times a second. From then on Frames and Pause follow it.
func (s *Screen) Customer() {
	s.t.Helper()
	netlab.Require(s.t, "xterm")
	s.Run("xterm", "-geometry", "200x80+0+0", "-fa", "DejaVu Sans Mono", "-fs", "16", "+sb", "-e", "sh", "-c", slideshow)
	s.watched = new(watched)
	done := make(chan struct{})
	gone := make(chan struct{})
	go func() { defer close(gone); s.watch(done) }()
	s.t.Cleanup(func() { close(done); <-gone })
}

// watched is what was seen of a screen.
type watched struct {
	frames  atomic.Int64
	longest atomic.Int64 // ns
}

// Frames counts the different pictures since Customer.
func (s *Screen) Frames() int { return int(s.watched.frames.Load()) }

// Pause is the longest time for which the screen stood still.
func (s *Screen) Pause() time.Duration { return time.Duration(s.watched.longest.Load()) }

func (s *Screen) watch(done <-chan struct{}) {
	seed := maphash.MakeSeed()
	var last uint64
	since := time.Now()
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-done:
			tick.Stop()
			return
		case <-tick.C:
		}
		dump, err := os.ReadFile(s.pixels)
		if err != nil {
			continue
		}
		now := time.Now()
		if sum := maphash.Bytes(seed, dump); sum != last {
			last, since = sum, now
			s.watched.frames.Add(1)
		}
		if still := now.Sub(since); still > s.Pause() {
			s.watched.longest.Store(int64(still))
		}
	}
}
