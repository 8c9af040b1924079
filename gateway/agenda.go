package gateway

import (
	"container/heap"
	"time"
)

// agenda is when, on the monotonic clock, which session has to be looked at,
// soonest first. An entry may be out of date: who takes it looks at the session
// itself. Not safe for concurrent use.
type agenda struct{ entries entries }

type entry struct {
	at      time.Duration
	session string
}

// add notes that session is to be looked at, and reports whether it is the first.
func (a *agenda) add(at time.Duration, session string) bool {
	heap.Push(&a.entries, entry{at, session})
	return a.entries[0].at == at
}

// next returns when the first entry is due.
func (a *agenda) next() (time.Duration, bool) {
	if len(a.entries) == 0 {
		return 0, false
	}
	return a.entries[0].at, true
}

// due takes one entry that is due at now.
func (a *agenda) due(now time.Duration) (string, bool) {
	if len(a.entries) == 0 || now < a.entries[0].at {
		return "", false
	}
	return heap.Pop(&a.entries).(entry).session, true
}

// clear drops all entries.
func (a *agenda) clear() { a.entries = nil }

type entries []entry

func (e entries) Len() int           { return len(e) }
func (e entries) Less(i, j int) bool { return e[i].at < e[j].at }
func (e entries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *entries) Push(x any)        { *e = append(*e, x.(entry)) }
func (e *entries) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = entry{}
	*e = old[:len(old)-1]
	return last
}
