package machine

import "time"

// State is how far a session is, in the words of control's API.
type State string

// The states.
const (
	Opening    State = "opening"
	Connecting State = "connecting"
	Connected  State = "connected"
	Degraded   State = "degraded"
	Closing    State = "closing"
	Closed     State = "closed"
	Failed     State = "failed"
)

// States are all of them.
var States = []State{Opening, Connecting, Connected, Degraded, Closing, Closed, Failed}

// Action is something to be done, in the order in which actions come.
type Action string

// The actions.
const (
	Ask     Action = "ask"     // send the ask, again with the same nonce
	Issue   Action = "issue"   // make the next revision with the answered prekey; then Issued
	Install Action = "install" // give the node the latest revision
	Admit   Action = "admit"   // let the wake wait for its turn; then Admitted
	Wake    Action = "wake"    // send the device the latest revision
	Place   Action = "place"   // find another node; then Issued, or Unplaced
	Moved   Action = "moved"   // tell the nodes before and the operators where it is now
	Down    Action = "down"    // send the device the signed down, by every line
	End     Action = "end"     // tell the node that the session is over
)

// How long control waits, and how often it says a thing again.
const (
	AskEvery    = time.Second // the device answers one a second at most
	AskTries    = 3
	AskFor      = 10 * time.Second
	InstallFor  = 5 * time.Second // a node is a data centre away, not a 4G link
	WakeEvery   = 5 * time.Second
	WakeFor     = 60 * time.Second
	ProveFor    = 60 * time.Second // after the device's acceptance
	DownEvery   = 5 * time.Second
	DownSlow    = 60 * time.Second // after the first minute: it may be off for hours
	BusyEvery   = time.Second      // while an earlier session of the device still closes
	closingTail = 2 * time.Second  // grace of the absolute end, for clocks
)

// A Change is what a revision changes for the tunnel.
type Change int

// The changes; each includes the one before.
const (
	Terms Change = iota // who, what or how long: the tunnel stays as it is
	Shake               // the device shakes hands with its node anew, or for the first time
	Move                // the node is another one
)

// The codes that a session can fail or close with, beside those of devices and
// nodes.
const (
	CodeNoPrekey        = "no_prekey"
	CodeNodeUnreachable = "node_unreachable"
	CodeNodeRefused     = "node_refused"
	CodeDeviceSilent    = "device_silent"
	CodeNoProof         = "no_proof"
	CodeRebooted        = "rebooted"
	CodeExpired         = "expired"
	CodeNodeClosed      = "node_closed"
	CodeDeviceClosed    = "device_closed"
	CodeInternal        = "internal"
	codeBusy            = "busy"
	codeClosed          = "closed" // of a refusal: the session is over there
)

// Machine is one session. Its exported fields are what is kept over a restart; only
// the machine changes them, but for Restore's caller. It is not safe for concurrent
// use.
type Machine struct {
	State     State
	Code, Why string
	Rev       int // latest issued
	Installed int // latest that the node has
	Acked     int // latest that the device answered
	Ready     bool
	Proved    bool
	Ends      time.Time
	Woken     bool // a command went out: the device may hold the session
	Alone     bool // no node takes part: the far end is an operator's own tool

	retried    bool
	rekeying   bool // the device refused the key at hand, and no revision has another yet
	asking     bool
	askTries   int
	askAt      time.Time
	askUntil   time.Time
	installAt  time.Time // until when the node must answer; zero: it need not
	wakeAt     time.Time // when the command goes out again; zero: not
	wakeUntil  time.Time // zero: as long as the session lasts
	slow       bool      // the device has not answered for a minute
	proveUntil time.Time
	shake      bool      // the latest revision makes the device shake hands
	moveUntil  time.Time // when a move that is not proved is looked at again; zero: there is none
	moveFor    time.Duration
	downAt     time.Time
	downSince  time.Time
	deviceGone bool // it said that the session is over there
	nodeGone   bool
	over       bool
	paused     bool // restored, and not yet going on
	out        []Action
}

// New returns a session that has to end at the latest at ends.
func New(ends time.Time) *Machine { return &Machine{State: Opening, Ends: ends} }

// Over reports that nothing is left to be done.
func (m *Machine) Over() bool { return m.over }

// Ended reports whether the session is closing, or is over.
func (m *Machine) Ended() bool { return m.State == Closing || m.State == Closed || m.State == Failed }

// Take returns what is to be done, once.
func (m *Machine) Take() []Action {
	out := m.out
	m.out = nil
	return out
}

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

// Next returns when Tick is due; zero: never.
func (m *Machine) Next() time.Time {
	if m.over {
		return time.Time{}
	}
	at := m.Ends
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	if m.Ended() {
		at = m.Ends.Add(closingTail)
		sooner(m.downAt)
		return at
	}
	if m.asking {
		sooner(m.askUntil)
		if m.askTries < AskTries {
			sooner(m.askAt)
		}
	}
	for _, t := range []time.Time{m.installAt, m.wakeAt, m.proveUntil, m.moveUntil} {
		sooner(t)
	}
	if !m.wakeAt.IsZero() {
		sooner(m.wakeUntil)
	}
	return at
}

// Tick does what is due.
func (m *Machine) Tick(now time.Time) {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case m.over:
		return
	case m.Ended():
		m.tickClosing(now)
		return
	case due(m.Ends):
		m.Close(now, CodeExpired, "")
		return
	}
	if m.asking {
		switch {
		case due(m.askUntil):
			m.fail(now, CodeNoPrekey, "the device did not answer an ask")
			return
		case m.askTries < AskTries && due(m.askAt):
			m.ask(now)
		}
	}
	if due(m.installAt) {
		m.installAt = time.Time{}
		m.notTaken("the node did not answer")
	}
	if due(m.moveUntil) {
		m.moveLate(now)
	}
	if due(m.proveUntil) {
		why := "no packet of the device reached the node"
		if m.Alone {
			why = "the device found no way to the operator"
		}
		m.fail(now, CodeNoProof, why)
		return
	}
	if !m.wakeAt.IsZero() && due(m.wakeUntil) {
		m.wakeAt = time.Time{}
		if m.Acked == 0 {
			m.fail(now, CodeDeviceSilent, "the device did not answer")
			return
		}
		m.Why = "the device did not answer"
		if m.Moving() {
			m.wakeAt, m.wakeUntil, m.slow = now.Add(DownSlow), time.Time{}, true // it may be off for hours
		}
	}
	if due(m.wakeAt) {
		m.wake(now)
	}
}

func (m *Machine) ask(now time.Time) {
	m.askTries++
	m.askAt = now.Add(AskEvery)
	m.do(Ask)
}

// Ask begins to ask the device for a prekey.
func (m *Machine) Ask(now time.Time) {
	if m.Ended() || m.asking {
		return
	}
	m.asking, m.askTries, m.askUntil = true, 0, now.Add(AskFor)
	m.ask(now)
}

// Asking reports whether an answer is waited for.
func (m *Machine) Asking() bool { return m.asking }

// Answered takes the device's answer to the ask.
func (m *Machine) Answered() {
	if m.asking && !m.Ended() {
		m.asking = false
		m.do(Issue)
	}
}

// Issued takes note of a new revision, which is to end at ends.
func (m *Machine) Issued(now time.Time, rev int, ends time.Time, change Change) {
	if m.Ended() || rev <= m.Rev {
		return
	}
	m.Rev, m.Ends = rev, ends
	m.wakeAt = time.Time{}
	// What the one before wanted and did not get yet this one has to get.
	m.shake = change >= Shake || m.shake && m.Acked < rev-1
	m.rekeying = m.rekeying && change == Terms
	if change == Move {
		m.move(now)
	}
	if m.Alone {
		m.installed(now)
		return
	}
	m.installAt = now.Add(InstallFor)
	m.do(Install)
}

// Renewed takes note that the session is to end at ends, with the grant that it has.
func (m *Machine) Renewed(ends time.Time) {
	if !m.Ended() && ends.After(m.Ends) {
		m.Ends = ends
	}
}

// Unissued says that no revision could be made. Without one a session that has none, or
// none with a key of the device's, comes to nothing.
func (m *Machine) Unissued(now time.Time, code, why string) {
	if m.Rev == 0 || m.rekeying {
		m.fail(now, code, why)
	}
}

func (m *Machine) wake(now time.Time) {
	m.Woken = true
	every := WakeEvery
	if m.slow {
		every = DownSlow
	}
	m.wakeAt = now.Add(every)
	m.do(Wake)
}
