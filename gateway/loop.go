package gateway

import "time"

// maxSleep bounds how long a step of the wall clock stays unseen here; the packet
// path compares with the wall clock at every batch.
const maxSleep = 10 * time.Second

// run ends sessions at their time, and passes on what the packet path saw.
func (n *Node) run() {
	timer := time.NewTimer(maxSleep)
	defer timer.Stop()
	for {
		timer.Reset(n.look())
		n.listenAround()
		select {
		case <-n.done:
			return
		case <-timer.C:
		case <-n.wake:
		case <-n.seen.ready:
		}
	}
}

// look handles all that is due and returns how long nothing will be.
func (n *Node) look() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watch()
	now := n.clock()
	if stepped(n.last, now) {
		n.replan(now)
	}
	n.last = now
	for {
		id, ok := n.agenda.due(now.mono)
		if !ok {
			break
		}
		n.due(id, now)
	}
	rest := maxSleep
	if _, ok := n.listens(); ok && len(n.sessions) > 0 {
		rest = min(rest, max(n.hearing.at-now.mono, 0))
	}
	if at, ok := n.agenda.next(); ok {
		rest = min(rest, at-now.mono)
	}
	return rest
}

// watch handles all that the packet path saw; n.mu is held.
func (n *Node) watch() {
	for _, s := range n.seen.take() {
		n.saw(s)
	}
}

// saw records a handshake or proof of a session in force.
func (n *Node) saw(s sighting) {
	h := n.sessions[s.session]
	if h == nil {
		return
	}
	h.fresh = false
	switch {
	case s.kind == KindHandshake && h.handshake.IsZero():
		h.handshake = s.at
		n.counts.handshakes++
	case s.kind == KindProved && h.proved.IsZero():
		h.proved = s.at
		n.counts.proofs++
	default:
		return // a handshake every two minutes is no news
	}
	n.hearing.soon(n.clock().mono)
	n.emit(Event{At: s.at, Kind: s.kind, Session: s.session, Rev: h.grant.Rev})
}

// due closes a session whose end has come, or forgets one that is long over.
func (n *Node) due(id string, now instant) {
	if h := n.sessions[id]; h != nil {
		if left := h.left(now); left > 0 {
			n.remind(now.mono+left, id)
		} else {
			n.close(id, CodeExpired, tombstone{until: h.grant.End})
		}
		return
	}
	t, ok := n.closed[id]
	if !ok {
		return
	}
	if left := t.left(now); left > 0 {
		n.remind(now.mono+left, id)
		return
	}
	n.forget(id, t)
}

// remind puts a session on the agenda; n.mu is held.
func (n *Node) remind(at time.Duration, id string) {
	if n.agenda.add(at, id) {
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
}

// replan makes the agenda anew, after the wall clock was set.
func (n *Node) replan(now instant) {
	n.agenda.clear()
	for id, h := range n.sessions {
		n.agenda.add(now.mono+h.left(now), id)
	}
	for id, t := range n.closed {
		n.agenda.add(now.mono+t.left(now), id)
	}
	n.cfg.Logger.Warn("the clock was set")
}
