package signaling

import "time"

// rungs decides which of several lines, best first, carries the messages. It
// is pure: time and what the lines say come in, what is to be done comes out.
//
//	      3 failures, or 20 s without a connection
//	line i ─────────────────────────────────────► line i+1, after the last the first
//	  ▲                                               │
//	  │ connected within 20 s                         │ connected: remembered
//	  └────────── each better line is tried ◄─────────┘
//	              beside it, every 6 to 12 h
//
// A line that was up and went gets more time: devices come back to a broker
// over a minute, and must not all turn to another way for that.
type rungs struct {
	dead   []bool // lines that failed for good
	jitter func() time.Duration

	at    int // the line in use
	up    bool
	fails int
	until time.Time // when the next line gets its turn; zero while up

	probe      int // the line that is tried beside it; -1: none
	probeFails int
	probeUntil time.Time
	probeAt    time.Time // when the next probes begin; zero: no line is better
}

const (
	maxFails      = 3
	patience      = 20 * time.Second
	patienceAfter = 75 * time.Second // of a line that was up: its own first retry comes within 60 s
	probeLeast    = 6 * time.Hour
	probeSpread   = 6 * time.Hour
)

// What rungs want done.
type (
	startLine struct{ i int }
	stopLine  struct{ i int }
	lineIs    struct { // tell the sink; what is published goes to line i
		i  int
		up bool
	}
	remember struct{ i int }
)

func newRungs(n int, jitter func() time.Duration) *rungs {
	return &rungs{dead: make([]bool, n), jitter: jitter, probe: -1}
}

// begin starts with line i.
func (r *rungs) begin(now time.Time, i int) []any {
	r.at, r.up, r.fails, r.until = i, false, 0, now.Add(patience)
	r.probeAt = time.Time{}
	return []any{startLine{i}}
}

// connected takes what line i says.
func (r *rungs) connected(now time.Time, i int, up bool) []any {
	switch {
	case i == r.at && up:
		r.up, r.fails, r.until = true, 0, time.Time{}
		if r.probeAt.IsZero() && i > 0 && r.probe < 0 {
			r.probeAt = now.Add(r.jitter())
		}
		return []any{lineIs{i, true}, remember{i}}
	case i == r.at:
		was := r.up
		r.up = false
		if was {
			r.fails, r.until = 0, now.Add(patienceAfter)
		} else if r.fails++; r.fails >= maxFails {
			return append([]any{lineIs{i, false}}, r.turn(now)...)
		}
		return []any{lineIs{i, false}}
	case i == r.probe && up:
		old := r.at
		r.at, r.up, r.fails, r.until, r.probe = i, true, 0, time.Time{}, -1
		r.probeAt = time.Time{}
		if i > 0 {
			r.probeAt = now.Add(r.jitter())
		}
		return []any{lineIs{i, true}, remember{i}, stopLine{old}}
	case i == r.probe:
		if r.probeFails++; r.probeFails >= maxFails {
			return r.nextProbe(now)
		}
	}
	return nil
}

// ended takes that line i failed for good.
func (r *rungs) ended(now time.Time, i int) []any {
	r.dead[i] = true
	switch {
	case i == r.at && r.up:
		r.up = false
		return append([]any{lineIs{i, false}}, r.turn(now)...)
	case i == r.at:
		return r.turn(now)
	case i == r.probe:
		return r.nextProbe(now)
	}
	return nil
}

// hopeless reports whether every line failed for good.
func (r *rungs) hopeless() bool {
	for _, d := range r.dead {
		if !d {
			return false
		}
	}
	return true
}

// turn gives the next line its turn.
func (r *rungs) turn(now time.Time) []any {
	var out []any
	if r.probe >= 0 { // whatever it comes to, the ladder starts anew
		out = append(out, stopLine{r.probe})
		r.probe = -1
	}
	if r.hopeless() {
		return out
	}
	old, next := r.at, r.at
	for range r.dead {
		if next = (next + 1) % len(r.dead); !r.dead[next] {
			break
		}
	}
	if next == old {
		r.fails, r.until = 0, now.Add(patience)
		return out
	}
	return append(append(out, stopLine{old}), r.begin(now, next)...)
}

// nextProbe tries the next better line, or waits for the next time.
func (r *rungs) nextProbe(now time.Time) []any {
	var out []any
	i := 0
	if r.probe >= 0 {
		out, i = append(out, stopLine{r.probe}), r.probe+1
	}
	for ; i < r.at; i++ {
		if !r.dead[i] {
			r.probe, r.probeFails, r.probeUntil, r.probeAt = i, 0, now.Add(patience), time.Time{}
			return append(out, startLine{i})
		}
	}
	r.probe, r.probeAt = -1, now.Add(r.jitter())
	return out
}

// next returns when tick is due; zero: never.
func (r *rungs) next() time.Time {
	at := r.until
	for _, t := range []time.Time{r.probeAt, r.probeTill()} {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

func (r *rungs) probeTill() time.Time {
	if r.probe < 0 {
		return time.Time{}
	}
	return r.probeUntil
}

// tick does what is due.
func (r *rungs) tick(now time.Time) []any {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case due(r.until):
		return r.turn(now)
	case due(r.probeTill()):
		return r.nextProbe(now)
	case due(r.probeAt):
		if !r.up { // not while the line in use has troubles of its own
			r.probeAt = now.Add(patience)
			return nil
		}
		return r.nextProbe(now)
	}
	return nil
}
