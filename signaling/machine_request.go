package signaling

import "time"

// request is a signed request for a grant that control has not answered.
type request struct {
	nonce string
	token []byte
	again time.Time
	until time.Time
}

const (
	requestEvery = 5 * time.Second
	requestFor   = 60 * time.Second
	maxRequests  = 4 // that wait at once, as many as keys.Device keeps
)

// request publishes a request of the Handler of run n until it is answered.
func (m *machine) request(now time.Time, n int, nonce string, token []byte) {
	o := m.cur
	switch {
	case o == nil || o.n != n || o.closing:
		m.do(answerAction{n: n, nonce: nonce, err: &Error{Reason: ReasonClosed}})
		return
	case len(o.requests) >= maxRequests:
		m.do(answerAction{n: n, nonce: nonce, err: refuse(ReasonFlood, "%d requests wait for control", maxRequests)})
		return
	}
	r := &request{nonce: nonce, token: token, until: now.Add(requestFor)}
	o.requests = append(o.requests, r)
	m.ask(now, r)
}

// forget drops a request that nobody waits for any more.
func (m *machine) forget(nonce string) {
	if m.cur != nil && m.cur.drop(nonce) {
		m.dead.add(nonce)
	}
}

// abandon drops every request of a session that ends: a grant that answers one
// of them opens nothing any more.
func (m *machine) abandon(o *opened, err error) {
	for len(o.requests) > 0 {
		m.dead.add(o.requests[0].nonce)
		m.settle(o, o.requests[0].nonce, nil, err)
	}
}

// resend publishes again what control has not answered: what is due, or all.
func (m *machine) resend(now time.Time, all bool) {
	for i := 0; i < len(m.cur.requests); {
		r := m.cur.requests[i]
		if !now.Before(r.until) {
			m.dead.add(r.nonce)
			m.settle(m.cur, r.nonce, nil, refuse(ReasonUnanswered, "control did not answer for %v", requestFor))
			continue
		}
		if all || m.up && !now.Before(r.again) {
			m.ask(now, r)
		}
		i++
	}
}

func (m *machine) ask(now time.Time, r *request) {
	r.again = now.Add(requestEvery)
	st := m.hint()
	st.Request = r.token
	m.send(sendAction{hint: st})
}

// settle answers the request with that nonce, if there is one.
func (m *machine) settle(o *opened, nonce string, grant []byte, err error) bool {
	if !o.drop(nonce) {
		return false
	}
	m.do(answerAction{n: o.n, nonce: nonce, session: o.id, grant: grant, err: err})
	return true
}

// asked reports whether a request with that nonce waits.
func (o *opened) asked(nonce string) bool {
	for _, r := range o.requests {
		if nonce != "" && r.nonce == nonce {
			return true
		}
	}
	return false
}

func (o *opened) drop(nonce string) bool {
	for i, r := range o.requests {
		if r.nonce == nonce {
			o.requests = append(o.requests[:i], o.requests[i+1:]...)
			return true
		}
	}
	return false
}

// offer publishes what the Handler of run n has for the far end.
func (m *machine) offer(n int, sealed []byte) bool {
	o := m.cur
	if o == nil || o.n != n || o.closing {
		return false
	}
	st := m.hint()
	st.Offer = sealed
	m.send(sendAction{hint: st})
	return true
}
