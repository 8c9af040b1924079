package held

import "time"

// A presence is who looks at a session, and until when it is held for nobody. It is
// pure: times come in, and it is not safe for concurrent use.
//
//	                 a tab opens
//	    ┌─────────┐ ────────────► ┌─────────┐
//	──► │ nobody  │               │ watched │
//	    └────┬────┘ ◄──────────── └────┬────┘
//	         │       the last closes   │
//	  grace  │                         │ the login of all
//	  is over│       ┌──────┐          │ tabs ends
//	         └─────► │ left │ ◄────────┘
//	                 └──────┘
type presence struct {
	grace time.Duration
	tabs  map[string]int // of each login
	last  string         // the login of the latest tab, or the one that opened the session
	until time.Time      // of the grace; zero while watched
	left  bool
}

// comes is how long the first tab may take, however short the grace: the page has to
// load.
const comes = time.Minute

func newPresence(login string, grace time.Duration, now time.Time) presence {
	return presence{grace: grace, tabs: make(map[string]int), last: login, until: now.Add(max(grace, comes))}
}

// open reports whether a tab of a login may be opened, and counts it.
func (p *presence) open(login string) bool {
	if p.left {
		return false
	}
	p.tabs[login]++
	p.last, p.until = login, time.Time{}
	return true
}

// close is the end of a tab.
func (p *presence) close(login string, now time.Time) {
	if p.tabs[login] == 0 {
		return // its login ended before it
	}
	if p.tabs[login]--; p.tabs[login] == 0 {
		delete(p.tabs, login)
	}
	if len(p.tabs) == 0 && !p.left {
		p.until = now.Add(p.grace)
	}
}

// logout ends the tabs of a login, and reports whether the session is to be left:
// nobody else looks at it, and it was this login's.
func (p *presence) logout(login string) bool {
	had := p.tabs[login] > 0
	delete(p.tabs, login)
	switch {
	case p.left || len(p.tabs) > 0:
		return false
	case had || p.last == login:
		p.left = true
		return true
	}
	return false
}

// tick reports whether the session is to be left because the grace is over.
func (p *presence) tick(now time.Time) bool {
	if p.left || p.until.IsZero() || now.Before(p.until) {
		return false
	}
	p.left = true
	return true
}

// count is how many tabs there are.
func (p *presence) count() int {
	n := 0
	for _, k := range p.tabs {
		n += k
	}
	return n
}
