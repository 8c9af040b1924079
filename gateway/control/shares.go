package control

import (
	"time"

	"github.com/boothwire/boothwire/gateway/control/internal/pool"
)

// shares are the operators' addresses that each user took lately. Each way in takes one,
// which then rests: whoever comes and goes in a loop would leave none for anybody else.
// Control.mu guards it.
type shares struct {
	taken map[string][]time.Time // by user, the earliest first
	swept time.Time
}

// fewAddresses is how many are too few to be shared out.
const fewAddresses = 1024

// take counts one of size addresses for a user; false: others need what is left. One may
// take nearly all, for he may well have a whole fleet open.
func (s *shares) take(user string, size int, now time.Time) bool {
	if size < fewAddresses {
		return true
	}
	s.sweep(now)
	list := rested(s.taken[user], now)
	if len(list) >= size-size/8 {
		return false
	}
	if s.taken == nil {
		s.taken = make(map[string][]time.Time)
	}
	s.taken[user] = append(list, now)
	return true
}

// back is for a way in that came to nothing, whose address does not rest.
func (s *shares) back(user string) {
	if list := s.taken[user]; len(list) > 0 {
		s.taken[user] = list[:len(list)-1]
	}
}

// sweep forgets, now and then, who took none lately.
func (s *shares) sweep(now time.Time) {
	if d := now.Sub(s.swept); d >= 0 && d < time.Minute {
		return
	}
	s.swept = now
	for user, list := range s.taken {
		if list = rested(list, now); len(list) > 0 {
			s.taken[user] = list
		} else {
			delete(s.taken, user)
		}
	}
}

// rested are the times since which an address does not rest yet.
func rested(list []time.Time, now time.Time) []time.Time {
	i := 0
	for i < len(list) && now.Sub(list[i]) >= pool.Rest(pool.Operator) {
		i++
	}
	return list[i:] // what is left may be long, and mu is held
}
