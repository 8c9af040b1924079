package machine

import "time"

// NodeInstalled takes the node's word that it has revision rev.
func (m *Machine) NodeInstalled(now time.Time, rev int) {
	if m.Ended() || rev != m.Rev || rev <= m.Installed {
		return
	}
	m.installed(now)
}

// installed has the device woken: nobody else has to have the latest revision first.
func (m *Machine) installed(now time.Time) {
	m.Installed, m.installAt = m.Rev, time.Time{}
	if m.State == Opening {
		m.State = Connecting
	}
	if m.shake && !m.Alone {
		m.do(Admit)
		return
	}
	m.Admitted(now)
}

// Admitted lets the device be woken: it is its turn.
func (m *Machine) Admitted(now time.Time) {
	if m.Ended() || m.Rev == 0 || m.Installed < m.Rev {
		return
	}
	m.wakeUntil, m.slow = now.Add(WakeFor), false
	m.wake(now)
}

// NodeRefused takes the node's refusal of revision rev.
func (m *Machine) NodeRefused(now time.Time, rev int, code string) {
	if m.Ended() || rev != m.Rev || rev <= m.Installed {
		return
	}
	m.installAt = time.Time{}
	if !m.Woken && code != codeBusy {
		m.fail(now, CodeNodeRefused, code) // as another node would
		return
	}
	if code == codeClosed && !m.Moving() {
		m.NodeClosed(now, "") // it had said so to a control that did not live to write it down
		return
	}
	m.notTaken("the node refused: " + code)
}

// NotInstalled reports that the node refused the latest revision, or did not answer
// in time, in a session that goes on as it was.
func (m *Machine) NotInstalled() bool {
	return m.Woken && m.Installed < m.Rev && m.installAt.IsZero()
}

// NodeBack takes note that the node is there again, which got the latest revision
// once more. kept: the session's tunnels stand there as they did.
func (m *Machine) NodeBack(kept bool) {
	if !m.Ended() && !kept {
		m.Proved = false
	}
}

// NodeProved takes the node's word that packets of the device reached it.
func (m *Machine) NodeProved() {
	if !m.Ended() {
		m.Proved = true
		if m.Moving() {
			m.moveUntil, m.moveFor, m.Why = time.Time{}, 0, ""
			m.do(Moved)
		}
		m.connect()
	}
}

// NodeClosed takes the node's word that the session is over there.
func (m *Machine) NodeClosed(now time.Time, code string) {
	m.nodeGone = true
	if m.Ended() {
		m.settle(now)
		return
	}
	if code == "" {
		code = CodeNodeClosed
	}
	m.Close(now, code, "closed by the node")
}

// Reply is what a device said about the session, verified.
type Reply struct {
	Re      bool   // it answers a command of the latest revision, or the ask
	Refusal bool   // that command was refused, with Code
	Rev     int    // that the device has
	VPN     string // its state, in signaling's words
	Code    string
	Why     string
	Sibling bool // an earlier session of the device is not cleaned up yet
}

func stale(code string) bool {
	return code == "unknown_prekey" || code == "wrong_boot" || code == "used_prekey"
}

// DeviceSaid takes what a device said about the session.
func (m *Machine) DeviceSaid(now time.Time, r Reply) {
	gone := !r.Refusal && (r.VPN == "disconnected" || r.VPN == "failed")
	if m.Ended() {
		// "closed" refuses a command of a session that is over there; a refusal of
		// another kind says nothing about it.
		if gone || r.Refusal && r.Re && r.Code == codeClosed {
			m.deviceGone = true
			m.settle(now)
		}
		return
	}
	if r.Refusal {
		m.refused(now, r)
		return
	}
	switch {
	case gone && stale(r.Code) && (m.rekeying || r.Rev < m.Rev):
		return // of the revision before, or said again: another key is on its way
	case gone && m.wantsFreshKey(r.Code):
		m.retry(now)
		return
	case gone && r.Rev == 0:
		return // not about a grant of ours
	}
	if r.Rev >= m.Rev {
		m.acked(now)
	}
	switch {
	case gone && r.VPN == "failed":
		m.deviceGone = true
		m.fail(now, r.Code, r.Why)
	case gone:
		m.deviceGone = true
		code := r.Code
		if code == "" {
			code = CodeDeviceClosed
		}
		m.Close(now, code, r.Why)
	case r.VPN == "connected":
		m.Ready = true
		m.Code, m.Why = "", r.Why
		if m.State == Degraded {
			m.State = Connected
		}
		m.connect()
	case r.VPN == "degraded":
		m.Ready = true
		m.Code, m.Why = r.Code, r.Why
		m.connect()
		if m.State == Connected {
			m.State = Degraded
		}
	}
}

func (m *Machine) acked(now time.Time) {
	if m.Acked == 0 {
		m.proveUntil = now.Add(ProveFor)
		m.connect()
	}
	m.Acked = m.Rev
	m.wakeAt = time.Time{}
}

// refused takes a device's refusal of the latest command about the session.
func (m *Machine) refused(now time.Time, r Reply) {
	switch {
	case !r.Re:
	case m.rekeying && stale(r.Code): // the command came twice, or somebody joined meanwhile
	case m.asking:
		if r.Code != "flood" && r.Code != "replayed" {
			m.fail(now, r.Code, "the device refused to give a key")
		}
	case m.wantsFreshKey(r.Code):
		m.retry(now)
	case r.Code == codeBusy && r.Sibling && !m.wakeAt.IsZero():
		m.wakeAt = now.Add(BusyEvery)
	case r.Code == "flood":
	case m.Acked == 0:
		m.fail(now, r.Code, r.Why)
	case r.Code == codeClosed: // and so is nothing that could be changed
		m.deviceGone = true
		m.Close(now, CodeDeviceClosed, r.Why)
	case !m.Ready && !m.Moving() && (r.VPN == "disconnected" || r.VPN == "failed"):
		// It had said that the signature holds, and opens nothing all the same.
		m.fail(now, r.Code, r.Why)
	default:
		m.wakeAt = time.Time{}
		m.notTaken("the device refused a change: " + r.Code)
	}
}

// wantsFreshKey reports whether a device that says so may be asked for another key,
// once. It may have said before that the grant's signature holds: whether it has the
// grant's key is what it looks at next.
func (m *Machine) wantsFreshKey(code string) bool {
	return stale(code) && !m.retried && !m.Ready && !m.Proved
}

// retry asks for a fresh prekey after the device refused the one at hand.
func (m *Machine) retry(now time.Time) {
	m.retried, m.rekeying = true, true
	m.Acked = 0
	m.wakeAt, m.proveUntil = time.Time{}, time.Time{}
	m.Ask(now)
}

func (m *Machine) connect() {
	if m.Ready && (m.Proved || m.Alone) {
		m.proveUntil = time.Time{}
		if m.State == Connecting {
			m.State = Connected
		}
	}
}

// Rebooted takes note that the device's run that held the session is over.
func (m *Machine) Rebooted(now time.Time) {
	m.deviceGone = true
	if m.Ended() {
		m.settle(now)
		return
	}
	m.Close(now, CodeRebooted, "the device was started anew")
}

// Close ends the session as planned, or because of what code says.
func (m *Machine) Close(now time.Time, code, why string) {
	m.end(now, Closing, code, why)
}

func (m *Machine) fail(now time.Time, code, why string) {
	if code == "" {
		code = CodeInternal
	}
	m.end(now, Failed, code, why)
}

func (m *Machine) end(now time.Time, state State, code, why string) {
	if m.Ended() {
		return
	}
	m.State, m.Code, m.Why = state, code, why
	m.asking, m.wakeAt, m.installAt, m.proveUntil, m.moveUntil = false, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	if m.Rev == 0 {
		m.deviceGone, m.nodeGone = true, true
	}
	if !m.Woken {
		m.deviceGone = true
	}
	m.nodeGone = m.nodeGone || m.Alone
	m.downSince = now
	if !m.deviceGone {
		m.downAt = now.Add(DownEvery)
		m.do(Down)
	}
	if !m.nodeGone {
		m.do(End)
	}
	m.settle(now)
}

func (m *Machine) tickClosing(now time.Time) {
	if !m.deviceGone && !m.downAt.IsZero() && !now.Before(m.downAt) {
		every := DownEvery
		if now.Sub(m.downSince) >= time.Minute {
			every = DownSlow
		}
		m.downAt = now.Add(every)
		m.do(Down)
	}
	m.settle(now)
}

// settle ends the cleaning up when both sides said that nothing is left, or when
// the grant is over by itself.
func (m *Machine) settle(now time.Time) {
	if m.deviceGone {
		m.downAt = time.Time{}
	}
	if !(m.deviceGone && m.nodeGone) && now.Before(m.Ends.Add(closingTail)) {
		return
	}
	m.over = true
	if m.State == Closing {
		m.State = Closed
	}
}

// Restored goes on with a session that was found in the store.
func (m *Machine) Restored(now time.Time) {
	m.paused = false
	switch {
	case m.Ended():
		m.downSince = now
		m.deviceGone, m.nodeGone = !m.Woken, m.Alone
		if !m.deviceGone {
			m.downAt = now.Add(DownEvery)
			m.do(Down)
		}
		if !m.nodeGone {
			m.do(End)
		}
		m.settle(now)
	case m.Rev == 0:
		m.fail(now, CodeInternal, "control was started anew")
	default:
		if !m.Alone {
			m.do(Install)
		}
		if !m.Proved && !m.Alone && (m.State == Connected || m.State == Degraded) {
			m.move(now) // as far as can be told
		}
		if m.Installed < m.Rev && m.Alone {
			m.installed(now)
		} else if m.Installed < m.Rev {
			// The node may need a moment to come back to a control that was away.
			m.installAt = now.Add(6 * InstallFor)
		} else if m.Acked < m.Rev {
			m.shake = true // as far as can be told
			m.installed(now)
		}
		if m.Acked > 0 && !m.Moving() && !(m.Ready && (m.Proved || m.Alone)) {
			m.proveUntil = now.Add(ProveFor)
		}
	}
}

// Sync marks a machine whose fields were just read from the store: it waits for
// Restored, but for its absolute end.
func (m *Machine) Sync() { m.paused = true }

// Resumes reports whether Restored is still to come.
func (m *Machine) Resumes() bool { return m.paused && !m.over }
