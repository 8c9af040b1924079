package path

import "time"

// checksDue are the checks that are due.
func (m *Machine[R]) checksDue(now time.Duration, f Facts) (list []Check) {
	busy := f.Used != 0 && now < f.Used+Use
	trouble := m.primary != nil && (m.primary.state != Good || m.unanswered(now, f, Step))
	switch {
	case !trouble:
		m.trouble = 0
	case m.trouble == 0:
		m.trouble = now
	}
	for _, w := range m.ways {
		if !w.Check || w.state == Absent {
			continue
		}
		at := now
		if w.sent != 0 {
			at = w.sent + m.pause(now, w, busy)
		}
		if now >= at {
			if w.state == Left && !m.onProbation(w) {
				w.retry = min(2*max(w.retry, retryFirst/2), retryMost)
			}
			list = append(list, Check{w.ID, w.send(now)})
			m.wake(now + w.late())
			at = now + m.pause(now, w, busy)
		}
		m.wake(at)
	}
	return list
}

// onProbation reports whether a left way passes checks, but not enough of them.
func (m *Machine[R]) onProbation(w *way[R]) bool { return w.passes > 0 && w.passes < w.need() }

// pause is the time between two checks of a way.
func (m *Machine[R]) pause(now time.Duration, w *way[R], busy bool) time.Duration {
	switch {
	case w == m.rising, w.state == Trying, w.state == Doubted:
		return Step
	case m.trouble != 0 && now < m.trouble+Trouble:
		return Step
	case m.trouble != 0:
		return Weary
	case w.state == Left && m.onProbation(w):
		return Probation
	case w.state == Left:
		return max(w.retry, retryFirst)
	case busy && w == m.primary && m.hasOther(w):
		return Busy
	case busy:
		return Standby
	}
	return Idle
}

func (m *Machine[R]) hasOther(w *way[R]) bool {
	for _, o := range m.ways {
		if o != w && o.state != Absent {
			return true
		}
	}
	return false
}
