package watchdog

import (
	"slices"
	"time"
)

// Sizes that a tunnel's MTU may have, in bytes of the inner packet. WireGuard
// adds 60 over IPv4 and 80 over IPv6. 1420 fits a path of 1,500; 1400 one of
// 1,492 (PPPoE) over IPv4; 1360 most carriers' tunnels; 1280 is IPv6's least and
// the start.
var (
	larger  = [...]int{1320, 1360, 1400, 1420}
	smaller = [...]int{1200, 1120, 1040, 960, 880, 720, 576}
)

const (
	sizeWait  = time.Second // for the answer to an echo of a larger size
	sizeTries = 2           // of one size, since any packet may be lost

	// sizeLost is how many whole-MTU echoes must stay away, each while a small one
	// sent after it came back, before the MTU is lowered.
	sizeLost = 3
)

// A Sizer finds a tunnel's MTU: up, by echoes of larger sizes once the tunnel is
// proved, only to a size that came back, and no further than to the first that did not;
// down, when whole echoes stay away
// while small ones come back. It is pure and not safe for concurrent use.
type Sizer struct {
	mtu   int
	fixed bool // the caller's choice: it stays

	try   int           // index in larger; len(larger): nothing to try
	tries int           // of larger[try]
	tried time.Duration // when; 0: not yet
	due   time.Duration // of the next try

	full    uint16 // the newest whole-MTU echo
	waiting bool   // full has not come back
	lost    int    // whole echoes in a row that stayed away
}

// NewSizer starts with mtu; a fixed one never changes.
func NewSizer(mtu int, fixed bool) Sizer {
	return Sizer{mtu: mtu, fixed: fixed, try: len(larger)}
}

// MTU returns the present MTU.
func (s *Sizer) MTU() int { return s.mtu }

// Start begins the search upwards: the tunnel was proved over a new path.
func (s *Sizer) Start(now time.Duration) {
	if !s.fixed {
		s.try, s.tries, s.due = s.above(s.mtu), 0, now
	}
}

// Step takes the time and returns the size of an echo to try, 0 for none. Such
// an echo proves nothing when it stays away.
func (s *Sizer) Step(now time.Duration) int {
	if s.Next() == 0 || now < s.due {
		return 0
	}
	if s.tries == sizeTries {
		s.try = len(larger) // what is larger still would not pass either
		return 0
	}
	s.tries++
	s.tried, s.due = now, now+sizeWait
	return larger[s.try]
}

// above is the index of the first larger size than mtu.
func (s *Sizer) above(mtu int) int {
	i, _ := slices.BinarySearch(larger[:], mtu+1)
	return i
}

// Next returns when Step is due, 0 when it is not.
func (s *Sizer) Next() time.Duration {
	if s.try >= len(larger) {
		return 0
	}
	return s.due
}

// Sent takes the sending of a proof's echo.
func (s *Sizer) Sent(seq uint16, size int) {
	if size >= s.mtu {
		s.full, s.waiting = seq, true
	}
}

// Answered takes the answer to any echo, and reports whether MTU changed.
func (s *Sizer) Answered(seq uint16, size int) bool {
	if s.fixed {
		return false
	}
	switch {
	case size > s.mtu:
		if !slices.Contains(larger[:], size) {
			return false
		}
		s.mtu = size
		s.waiting, s.lost = false, 0
		if s.try < len(larger) {
			s.try, s.tries, s.due = s.above(size), 0, s.tried // the next at once
		}
		return true
	case size == s.mtu:
		s.waiting, s.lost = false, 0
	case s.waiting && int16(seq-s.full) > 0:
		s.waiting = false
		if s.lost++; s.lost >= sizeLost {
			return s.lower()
		}
	}
	return false
}

// lower takes the next smaller size; the search upwards ends.
func (s *Sizer) lower() bool {
	s.lost, s.try = 0, len(larger)
	if s.mtu > 1280 {
		s.mtu = 1280
		return true
	}
	for _, size := range smaller {
		if size < s.mtu {
			s.mtu = size
			return true
		}
	}
	return false
}
