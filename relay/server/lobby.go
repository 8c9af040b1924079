package server

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/boothwire/boothwire/relay/internal/sock"
)

// A lobby is a listener whose connections wait for room in the hall. When a whole fleet
// comes back, all can be up at once and be served in turn, and a call that is turned
// away and made again costs more than one that waits: nothing is read from it, and no
// goroutine is its own. The turn goes round by crowds, so that one that is large waits
// for itself. When there are too many, the largest crowd has to go first.
type lobby struct {
	net.Listener
	hall       *hall
	max, perIP int
	refused    func(code string)
	over       chan struct{} // closed once nothing more comes
	err        error         // why; read after over

	mu    sync.Mutex
	n     int
	lines map[netip.Prefix]*line // by crowd
	ring  []*line                // the same; the first has its turn
}

// A line is those of one crowd that wait, the first to come first.
type line struct {
	in   netip.Prefix
	wait []*waiting
}

type waiting struct {
	net.Conn
	from netip.Prefix
	late *time.Timer
}

const (
	waitFor = 15 * time.Second // a client hangs up before
	tries   = 64               // lines that are looked at for one that may enter, or has to go
)

func newLobby(ln net.Listener, h *hall, max, perIP int, refused func(code string)) *lobby {
	return &lobby{
		Listener: ln, hall: h, max: max, perIP: perIP, refused: refused,
		over: make(chan struct{}), lines: make(map[netip.Prefix]*line),
	}
}

// take lets in who comes until the listener is closed.
func (l *lobby) take() {
	defer close(l.over)
	pause := time.Duration(0)
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			pause = 0
			l.add(c)
			continue
		}
		// Such as no descriptor left, as net/http takes it.
		if e, ok := errors.AsType[net.Error](err); !ok || !e.Temporary() { //nolint:staticcheck // nothing else tells
			l.err = err
			l.clear()
			return
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		time.Sleep(pause)
	}
}

// add has c wait, or closes it.
func (l *lobby) add(c net.Conn) {
	w := &waiting{Conn: c, from: source(c.RemoteAddr())}
	in := crowd(w.from)
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.lines[in]
	if own != nil && len(own.wait) >= l.perIP || l.n >= l.max && !l.makeRoom(own) {
		l.refused("full")
		c.Close()
		return
	}
	if own == nil {
		own = &line{in: in}
		l.lines[in] = own
		l.ring = append(l.ring, own)
	}
	own.wait = append(own.wait, w)
	l.n++
	w.late = time.AfterFunc(waitFor, func() { l.expire(own, w) })
	l.hall.look()
}

// makeRoom turns away the last of the largest crowd of some, where that is not own. mu is
// held.
func (l *lobby) makeRoom(own *line) bool {
	var largest *line
	if len(l.ring) == 0 {
		return false
	}
	for range tries {
		if some := l.ring[rand.IntN(len(l.ring))]; largest == nil || len(some.wait) > len(largest.wait) {
			largest = some
		}
	}
	if own != nil && len(largest.wait) <= len(own.wait)+1 || len(largest.wait) < 2 {
		return false
	}
	l.turnAway(largest, len(largest.wait)-1)
	return true
}

// expire turns w away if it still waits.
func (l *lobby) expire(own *line, w *waiting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, o := range own.wait {
		if o == w {
			l.turnAway(own, i)
			return
		}
	}
}

func (l *lobby) turnAway(own *line, i int) {
	l.refused("full")
	l.remove(own, i).Close()
}

// remove takes out the one at i of a line that is not empty. An empty line is taken out
// of the ring when its turn comes.
func (l *lobby) remove(own *line, i int) *waiting {
	w := own.wait[i]
	w.late.Stop()
	own.wait = append(own.wait[:i], own.wait[i+1:]...)
	l.n--
	return w
}

// Accept waits for one whose turn it is.
func (l *lobby) Accept() (net.Conn, error) {
	for {
		if c := l.next(); c != nil {
			return c, nil
		}
		select {
		case <-l.hall.changed:
		case <-l.over:
			return nil, l.err
		}
	}
}

// next lets one into the hall, nil if nobody waits who may enter.
func (l *lobby) next() net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	for tried := 0; tried < tries && len(l.ring) > 0; {
		own := l.ring[0]
		l.ring[0] = nil
		l.ring = l.ring[1:]
		if len(own.wait) == 0 {
			delete(l.lines, own.in)
			continue
		}
		l.ring = append(l.ring, own)
		w := own.wait[0]
		if sock.Gone(w.Conn) {
			l.remove(own, 0).Close()
			continue
		}
		if c := l.enter(w); c != nil {
			l.remove(own, 0)
			return c
		}
		tried++
	}
	return nil
}

// enter lets w into the hall; nil: there is no room for it.
func (l *lobby) enter(w *waiting) net.Conn {
	leave, ok := l.hall.enter(w.from, func() {
		l.refused("full")
		w.Close()
	})
	if !ok {
		return nil
	}
	in := &counted{Conn: w.Conn}
	// Whatever it is busy with, TLS, a request or the proof.
	late := time.AfterFunc(proveFor, func() {
		if !in.asked.Load() { // else the proof's reader says so
			l.refused("slow")
		}
		w.Close()
	})
	in.leave = sync.OnceFunc(func() {
		late.Stop()
		leave()
	})
	return in
}

// clear turns away all who wait.
func (l *lobby) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, own := range l.ring {
		for len(own.wait) > 0 {
			l.remove(own, 0).Close()
		}
	}
}

// count is how many wait.
func (l *lobby) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}
