package path

import "time"

// A Report is what is known of one way.
type Report struct {
	ID       int
	State    State
	Since    time.Duration // of the state, or since it is the primary way
	Primary  bool
	Also     bool // gets a copy of the packets
	RTT      time.Duration
	Loss     float64       // share of the last checks, 0 to 1
	Code     string        // why it was left the last time
	Spent    time.Duration // as the primary way
	Relapses int
}

// Report returns what is known of the ways, the preferred first, and last, with an
// ID below 0, of an address at which the far end was found.
func (m *Machine[R]) Report() []Report {
	list := make([]Report, 0, len(m.ways))
	for _, w := range m.ways {
		r := Report{
			ID: w.ID, State: w.state, Since: w.since, Primary: w == m.primary, Also: w == m.also,
			RTT: w.rtt, Code: w.code, Spent: w.spent, Relapses: w.relapses,
		}
		r.Loss, _ = w.loss()
		if r.Primary && w.state == Good {
			r.Since = m.since
		}
		list = append(list, r)
	}
	return list
}
