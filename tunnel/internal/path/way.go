package path

import "time"

// A Kind is how a way travels.
type Kind uint8

const (
	Direct Kind = iota
	Relay
)

// A Way is one way to the far end, while it has a route or before and after that.
type Way[R comparable] struct {
	ID    int // the caller's, above 0; the way keeps its history under it
	Route R   // the zero R: none at present
	Kind  Kind
	Check bool // it can be checked; what cannot is judged by the tunnel's own packets

	// Lasts says that packets may go on by a route that was taken back, until
	// there is another: a UDP address works on when whoever found it has gone.
	Lasts bool
}

// A State is what is held of a way.
type State uint8

const (
	Absent  State = iota // has no route, or the policy excludes it
	Trying               // nothing came back yet
	Good                 // the newest check passed, or a packet came back
	Doubted              // a check was lost, or the tunnel's packets stay unanswered
	Left                 // given up; it has to pass several checks to count again
)

// Codes of ways that were left.
const (
	NoReply = "no_reply" // its checks were not answered
	Silent  = "silent"   // its checks were, but the tunnel's packets took another way
	Lossy   = "loss"     // it loses more than a relay
	Slow    = "slow"     // it takes longer than a relay
)

const (
	// leaveAfter and leaveFails say when a way's lost checks make it left: after
	// three of them, Step apart. With Busy before the first of them and one late
	// answer that is 1.5 s after the way broke.
	leaveAfter = 3 * Step
	leaveFails = 2

	// A way that was left has to pass needFirst checks in a row, Probation apart, and
	// twice as many after each relapse, so that one that comes and goes takes the
	// tunnel along less and less. A relapse is forgotten after Calm.
	needFirst    = 3
	mostRelapses = 5
	Probation    = 500 * time.Millisecond
	Calm         = time.Minute

	// What was left is checked again after retryFirst, and then after twice as long
	// each time, up to retryMost: a round trip per half minute is cheap enough for
	// ever.
	retryFirst = 500 * time.Millisecond
	retryMost  = 30 * time.Second

	// A way without checks has to carry packets to be tried.
	probeFirst = 5 * time.Second
	probeMost  = time.Minute
)

type way[R comparable] struct {
	Way[R]
	state State
	since time.Duration // of the state
	code  string        // why it was left the last time
	checks
	heard time.Duration // the newest packet that came by it

	relapses int
	calm     time.Duration // since when it has carried without one
	retry    time.Duration // before the next check once it was left; of one without checks, probe
	probe    time.Duration // when it may be tried again
	spent    time.Duration // as the primary way
}

// become changes the state.
func (w *way[R]) become(now time.Duration, s State) {
	if w.state == s {
		return
	}
	if s == Good && w.state != Doubted {
		w.clear() // what was lost before it worked says nothing of its quality
	}
	w.state, w.since = s, now
}

// begin is a way with a new route. What the old one has cost is not forgotten.
func (w *way[R]) begin(now time.Duration) {
	w.state, w.since = Trying, now
	if w.Check && w.relapses > 0 {
		w.state = Left
	}
	w.forget()
	w.sent, w.heard, w.probe, w.retry = 0, 0, 0, 0
}

// leave gives the way up; relapsed says that it had carried packets.
func (w *way[R]) leave(now time.Duration, code string, relapsed bool) {
	w.become(now, Left)
	w.code, w.retry = code, retryFirst
	if relapsed {
		w.relapses = min(w.relapses+1, mostRelapses)
		w.calm = now
	}
	w.forget()
}

// need is how many checks in a row bring the way back.
func (w *way[R]) need() int {
	if w.relapses == 0 {
		return 1
	}
	return needFirst << (w.relapses - 1)
}

// judge draws the conclusions from checks. alone says that no other way works,
// carries that this one carries packets, slow that it would take too long.
func (w *way[R]) judge(now time.Duration, alone, carries, slow bool) {
	gone := w.fails >= leaveFails && now >= w.began+leaveAfter
	switch w.state {
	case Trying:
		if w.passes > 0 {
			w.become(now, Good)
		} else if gone {
			w.leave(now, NoReply, false)
		}
	case Good:
		if w.fails > 0 {
			w.become(now, Doubted)
		} else if carries && w.relapses > 0 && now >= w.calm+Calm {
			w.relapses--
			w.calm = now
		}
	case Doubted:
		if w.fails == 0 {
			w.become(now, Good)
		} else if gone {
			w.leave(now, NoReply, carries)
		}
	case Left:
		if w.passes > 0 && (alone || w.passes >= w.need() && !slow) {
			w.become(now, Good)
			w.calm = now
		}
	}
}

// class orders ways by how sure it is that they carry packets, the surest first.
func (w *way[R]) class() int {
	switch w.state {
	case Good:
		return 0
	case Left:
		if w.passes > 0 {
			return 1
		}
		return 3
	}
	return 2
}

// rank orders ways by how much they are wanted, the most wanted first.
func (w *way[R]) rank() int {
	switch {
	case w.Kind == Relay:
		return 2
	case w.ID == found:
		return 1
	}
	return 0
}
