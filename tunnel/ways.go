package tunnel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/boothwire/boothwire/internal/bind"
	"github.com/boothwire/boothwire/tunnel/internal/path"
)

// A way is one path of the config that a func finds. Its fields belong to run; its
// goroutine, keepOpen, hands over what it comes to with do.
type way struct {
	id   int // at the path machine
	path Path

	ctx    context.Context // ends when the way does
	cancel context.CancelFunc
	again  chan struct{} // wakes its back-off, or closes the connection
	lost   chan struct{} // closes a connection that does not work
	stop   func()        // ends the Open that is under way, if one is
	done   chan struct{} // closed when nothing of it is left

	// Of the connection that is open.
	route   bind.Route // where it leads; none: there is none
	remote  string     // the same for people
	socket  bool       // it is a SocketConn
	checker Checker    // nil: it cannot be checked
	life    context.Context
	sayer   sayer // nil: it says nothing of itself
	suspect bool  // the network has changed, and it did not work since

	// Of Open, while nothing is open.
	failed bool
	code   string
	since  time.Time

	why string // of the connection, or of the failure
}

// idOf is an address's number at the path machines. The numbers of ways that a func
// finds are of the same row.
func (t *Tunnel) idOf(a netip.AddrPort) int {
	id := t.addrIDs[a]
	if id == 0 {
		t.ids++
		id = t.ids
		t.addrIDs[a] = id
	}
	return id
}

// setWays tells f's path machine all ways that there are: what was opened for c
// first, then the known addresses.
func (t *Tunnel) setWays(f *far, c *Config) {
	var list []path.Way[bind.Route]
	if f == t.far {
		for _, w := range t.ways {
			list = append(list, path.Way[bind.Route]{
				ID: w.id, Route: w.route, Kind: machineKind(w.path.kind()), Check: w.checker != nil, Lasts: w.socket,
			})
		}
	}
	for _, p := range c.Paths {
		if p.Addr.IsValid() {
			list = append(list, path.Way[bind.Route]{ID: t.idOf(p.Addr), Route: bind.At(p.Addr), Kind: machineKind(p.kind())})
		}
	}
	now := t.gate.Now()
	f.path.Set(now, machinePolicy(c.Policy), list)
	t.stepPath(f, now, path.Facts{Waiting: f.dog.Waiting()})
	t.dirty = true
}

func machineKind(k PathKind) path.Kind {
	if k == Relay {
		return path.Relay
	}
	return path.Direct
}

func machinePolicy(p Policy) path.Policy {
	switch p {
	case RelayOnly:
		return path.RelayOnly
	case DirectOnly:
		return path.DirectOnly
	}
	return path.Auto
}

// stepPath gives f's path machine its time and does what it asks for.
func (t *Tunnel) stepPath(f *far, now time.Duration, facts path.Facts) {
	f.hear(t.start)
	a := f.path.Step(now, facts)
	if a.Changed {
		f.point()
		t.dirty = true
	}
	for _, c := range a.Checks {
		if w := t.wayOf(c.ID); w != nil && f == t.far {
			t.check(f, w, c.Seq)
		}
	}
	if f == t.far {
		t.tend(f, now)
	}
	if a.Echo && f.dog.LastProof() != 0 {
		t.prove(f, now)
	}
}

func (t *Tunnel) wayOf(id int) *way {
	for _, w := range t.ways {
		if w.id == id {
			return w
		}
	}
	return nil
}

// opened is the way that a route is of, nil if it is of none.
func (t *Tunnel) opened(r bind.Route) *way {
	for _, w := range t.ways {
		if w.route == r && !r.IsZero() {
			return w
		}
	}
	return nil
}

// checkTime is how long one check may take: far more than what makes it a lost one.
const checkTime = 2 * time.Second

// check makes one check of a way.
func (t *Tunnel) check(f *far, w *way, seq uint32) {
	if w.checker == nil {
		return
	}
	checker, life := w.checker, w.life
	t.work.Go(func() {
		ctx, cancel := context.WithTimeout(life, checkTime)
		defer cancel()
		rtt, err := checker.Check(ctx)
		_ = t.do(life, func() error {
			t.dirty = true
			if err != nil {
				f.path.Failed(w.id, seq)
			} else {
				f.path.Answered(w.id, seq, rtt)
			}
			return nil
		})
	})
}

// giveUp is how long a direct connection that was left may take to recover before it
// is looked for anew.
const giveUp = 3 * time.Second

// tend has ways opened anew whose checks say that it is time.
func (t *Tunnel) tend(f *far, now time.Duration) {
	for _, w := range t.ways {
		if w.checker == nil || w.route.IsZero() {
			continue
		}
		state, since, code := f.path.State(w.id)
		switch {
		case state == path.Good:
			w.suspect = false
		case state != path.Left:
		case w.suspect: // the network has changed: at once
			w.suspect = false
			signal(w.again)
		case w.socket && code == path.NoReply && now >= since+giveUp && !f.path.Recovers(w.id):
			signal(w.lost)
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// errNoReply is why a connection was given up whose checks stayed unanswered.
type errNoReply struct{}

func (errNoReply) Error() string { return "its checks are not answered" }
func (errNoReply) Code() string  { return path.NoReply }

// codeOf is the code that an error carries, or a word for any other.
func codeOf(err error) string {
	var coded interface{ Code() string }
	switch {
	case err == nil:
		return ""
	case errors.As(err, &coded):
		return coded.Code()
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "error"
}

// addrOf is where a connection leads, for people.
func addrOf(c net.Conn) string {
	if a := c.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}
