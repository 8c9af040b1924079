package gateway

import "time"

// refusals keeps who floods a node with what it refuses from flooding its log: of
// each code the first in a minute is logged, and says how many of it were not since
// the one before. Events and counters tell of all.
type refusals map[string]*refused // by code, of which there are a few

type refused struct {
	since  time.Duration // on the monotonic clock
	silent int
}

// log reports whether to log a refusal with code, and how many were kept silent
// since the last that was.
func (r refusals) log(code string, now time.Duration) (silent int, ok bool) {
	f := r[code]
	switch {
	case f == nil:
		f = &refused{}
		r[code] = f
	case now-f.since < time.Minute:
		f.silent++
		return 0, false
	}
	silent = f.silent
	f.since, f.silent = now, 0
	return silent, true
}
