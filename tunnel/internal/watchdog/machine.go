// Package watchdog decides, from the times of packets alone, when a tunnel is
// proved, doubted and to be repaired. Everything in it is pure: times and facts
// in, actions out. Times are monotonic and above zero; zero means never.
package watchdog

import "time"

// What the watchdog waits for. A tunnel that carries a keystroke a second is
// doubted before the typist doubts it, and repaired before he gives up.
const (
	// Idle is how often a silent tunnel is proved. It is below the 30 s after
	// which the shortest UDP mappings seen at carriers are forgotten.
	Idle = 20 * time.Second

	// Probe is how long a sent packet may stay unanswered before an echo asks,
	// and how often it asks: four times a round trip across a continent.
	Probe = 250 * time.Millisecond

	// Of the first echoes of four waits within two seconds, the one that asks comes
	// sooner: see Machine.Quick. Packets that nobody answers, as of a log that goes one
	// way only, do not bring an echo for each round trip.
	quickPause = 500 * time.Millisecond
	quickMost  = 3 * quickPause

	// Doubt is when a tunnel whose packets stay unanswered counts as degraded:
	// five echoes lost in a row.
	Doubt = 1500 * time.Millisecond

	// Repair is when the peer is taken out and put in again, so that a fresh
	// handshake begins; WireGuard alone waits 15 s for that.
	Repair = 5 * time.Second

	// RepairMost is the longest pause between two repairs. The first four
	// follow each other at Repair, since most outages are a far end that starts
	// again; then the pause doubles.
	RepairMost = time.Minute

	// Suspect is Repair where somebody said that the far end began again: the
	// echo that asks has long been answered if it did not.
	Suspect = time.Second

	// slowProbe replaces Probe once a repair is due, since each echo that waits
	// for the handshake is held in memory.
	slowProbe = time.Second
)

// A State is what the watchdog holds of a tunnel.
type State uint8

const (
	Connecting State = iota // no echo was ever answered
	Connected
	Degraded
)

// Actions are what a Step asks for.
type Actions struct {
	Echo     bool // send an echo and tell Machine.Sent
	Repair   bool // take the peer out and put it in again
	Doubted  bool // the state just became Degraded
	Restored bool // the state just became Connected
}

// A Machine watches one tunnel. It is not safe for concurrent use.
//
//	             echo answered                unanswered for Doubt
//	Connecting ────────────────► Connected ────────────────────────► Degraded
//	 │     ▲                      │     ▲      any packet from there    │  ▲
//	 └─────┘ unanswered for       │     └───────────────────────────────┤  │
//	         Repair: repair       └── silent for Idle: echo             └──┘
//	                                                    unanswered for Repair,
//	                                                    and on: repair
//
// The clock of "unanswered" starts with the first packet or echo that is sent
// after the newest packet from the far end. Any packet that WireGuard
// authenticates stops it, once the first echo was answered.
type Machine struct {
	// Late is added to Repair at the one of two ends that should not begin a
	// handshake: two that begin at once cancel each other.
	Late time.Duration

	// Quick is Probe for the first echo of a wait, where the round trip is known to be
	// short. What NATs have forgotten is learnt again by what this end sends: a far end
	// that would answer cannot be heard before. 0: Probe.
	Quick time.Duration

	state   State
	lastIn  time.Duration
	waiting time.Duration // when the first unanswered packet was sent; 0: none is
	echoed  time.Duration // when the newest echo was sent
	repair  time.Duration // when the next repair is due; 0: none is
	repairs int           // since the last proof
	quick   time.Duration // quickPause for each echo that came sooner, from then on
}

// State returns the present state.
func (m *Machine) State() State { return m.state }

// Waiting returns since when packets stay unanswered, 0 when none does.
func (m *Machine) Waiting() time.Duration { return m.waiting }

// LastProof returns when the newest proof came: any packet from the far end,
// once an echo was answered. It is 0 before that.
func (m *Machine) LastProof() time.Duration {
	if m.state == Connecting {
		return 0
	}
	return m.lastIn
}

// Proved takes the answer to an echo.
func (m *Machine) Proved(now time.Duration) Actions {
	return m.alive(now)
}

// Sent takes the sending of an echo.
func (m *Machine) Sent(now time.Duration) {
	m.echoed = now
	m.wait(now)
}

// Reset forgets what was sent, so that the next Step echoes at once: after a
// change of keys or of the path.
func (m *Machine) Reset() {
	m.waiting, m.echoed, m.repair, m.repairs = 0, 0, 0, 0
}

// Suspect takes a hint that the far end may have forgotten this one: the next
// Step echoes at once, and the peer is repaired soon if no packet comes.
func (m *Machine) Suspect(now time.Duration) {
	if m.state == Connecting {
		return
	}
	m.wait(now)
	m.echoed, m.repair = 0, min(m.repair, now+Suspect+m.Late)
}

func (m *Machine) wait(since time.Duration) {
	if m.waiting == 0 {
		m.waiting = since
		m.repair = since + Repair + m.Late
	}
}

// alive is a proof of any kind.
func (m *Machine) alive(now time.Duration) Actions {
	restored := m.state != Connected
	m.state = Connected
	m.lastIn = max(m.lastIn, now)
	m.waiting, m.repair, m.repairs = 0, 0, 0
	return Actions{Restored: restored}
}

// Step takes the time and the times of the newest packet from the far end and of
// the newest packet, other than an echo, to it.
func (m *Machine) Step(now, lastIn, lastOut time.Duration) Actions {
	var a Actions
	if lastIn > m.lastIn {
		m.lastIn = lastIn
		if m.state != Connecting && lastIn >= m.waiting {
			a = m.alive(lastIn)
		}
	}
	if m.state != Connecting && lastOut > m.lastIn {
		m.wait(lastOut)
	}
	if m.waiting != 0 && m.state == Connected && now-m.waiting >= Doubt {
		m.state = Degraded
		a.Doubted = true
	}
	if m.repair != 0 && now >= m.repair {
		a.Repair = true
		m.repairs++
		m.repair = now + m.pause()
	}
	a.Echo = a.Repair || now >= m.nextEcho()
	if a.Echo && m.hurries() {
		m.quick = max(m.quick, now) + quickPause
	}
	return a
}

// pause is the time between the repair just made and the next.
func (m *Machine) pause() time.Duration {
	if m.repairs <= 3 {
		return Repair
	}
	return min(Repair<<min(m.repairs-3, 8), RepairMost)
}

// nextEcho is when the next echo is due.
func (m *Machine) nextEcho() time.Duration {
	if m.echoed == 0 {
		return 0
	}
	every := Probe
	if m.repairs > 0 {
		every = slowProbe
	}
	if m.waiting == 0 {
		return max(m.echoed, m.lastIn) + Idle
	}
	if m.hurries() {
		return m.waiting + min(m.Quick, Probe)
	}
	return max(m.waiting, m.echoed) + every
}

// hurries reports whether the next echo comes sooner than others.
func (m *Machine) hurries() bool {
	return m.Quick != 0 && m.state == Connected && m.waiting > m.echoed && m.quick <= m.waiting+quickMost
}

// Next returns when Step is due at the latest; a packet that is sent while
// Waiting is 0 calls for a Step of its own.
func (m *Machine) Next() time.Duration {
	next := m.nextEcho()
	if m.waiting != 0 && m.state == Connected {
		next = min(next, m.waiting+Doubt)
	}
	if m.repair != 0 {
		next = min(next, m.repair)
	}
	return next
}
