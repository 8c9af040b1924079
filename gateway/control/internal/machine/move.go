package machine

import "time"

// A move is given up for another one when the device has had it for MoveFor and its
// packets have not come to the new node; each further one gets twice the time, up to
// MoveMost.
const (
	MoveFor  = 60 * time.Second
	MoveMost = 16 * time.Minute
)

// move begins to wait for the device at another node. The one before carries the
// session meanwhile, if it still can.
func (m *Machine) move(now time.Time) {
	m.Proved = false
	m.moveFor = max(MoveFor, m.moveFor)
	m.moveUntil = now.Add(m.moveFor)
	if !m.proveUntil.IsZero() { // not connected yet: it begins to wait anew
		m.proveUntil = now.Add(InstallFor + ProveFor)
	}
}

// Moving reports whether the latest revision names another node than the one at which
// the device was proved.
func (m *Machine) Moving() bool { return !m.moveUntil.IsZero() }

// moveLate looks for another node once the device has had its time to come to this
// one. A device that has not answered may be off, and no other node would change that.
func (m *Machine) moveLate(now time.Time) {
	if m.Acked == m.Rev {
		m.moveFor = min(2*m.moveFor, MoveMost)
		m.do(Place)
	}
	m.moveUntil = now.Add(m.moveFor)
}

// notTaken says that node or device does not have the latest revision. One that is on
// its way, or has not begun, looks for another node; the others go on as they were.
func (m *Machine) notTaken(why string) {
	m.Why = why
	if m.Moving() || !m.Woken {
		m.do(Place)
	}
}

// Unplaced says that no other node can take the session, which goes on as it was, or
// fails for what code says.
func (m *Machine) Unplaced(now time.Time, code, why string) {
	if !m.Woken {
		m.fail(now, code, why)
		return
	}
	m.Why = why
}

// Stays takes note that the latest revision names the node again that has carried the
// session all the time: there is nothing to wait for.
func (m *Machine) Stays() {
	if !m.Ended() {
		m.Proved, m.moveUntil, m.moveFor = true, time.Time{}, 0
		m.do(Moved)
	}
}
