package server

import (
	"errors"
	"net"
	"net/netip"
	"slices"
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
	hall    *hall
	max     func() int // that wait at once
	perIP   int
	refused func(code string)
	over    chan struct{} // closed once nothing more comes
	err     error         // why; read after over

	mu     sync.Mutex
	n      int
	sizes  sizes                       // of crowds
	crowds map[netip.Prefix]*line      // each with somebody, but for those whose turn it was not since
	ring   []*line                     // the same; the first has its turn
	queues map[netip.Prefix][]*waiting // by address, the first to come first
}

// A line is a crowd's addresses, the first has its turn.
type line struct {
	in        netip.Prefix
	addresses []netip.Prefix // each with somebody, as above
}

type waiting struct {
	net.Conn
	since time.Time
}

const (
	waitFor  = 15 * time.Second // a client hangs up before
	tries    = 64               // crowds, and addresses of one, that are looked at for one that may enter
	sweepAll = time.Second
	unread   = 16 << 10 // bytes: a hello has less, and its client waits for an answer then
)

func newLobby(ln net.Listener, h *hall, max func() int, perIP int, refused func(code string)) *lobby {
	return &lobby{
		Listener: ln, hall: h, max: max, perIP: perIP, refused: refused, over: make(chan struct{}),
		crowds: make(map[netip.Prefix]*line), queues: make(map[netip.Prefix][]*waiting),
	}
}

// take lets in who comes until the listener is closed.
func (l *lobby) take() {
	var swept sync.WaitGroup
	swept.Go(l.keepSwept)
	defer swept.Wait()
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
	from, most := source(c.RemoteAddr()), l.max()
	in := crowd(from)
	l.mu.Lock()
	defer l.mu.Unlock()
	if from.IsValid() && len(l.queues[from]) >= l.perIP || l.n >= most && !l.makeRoom(in) {
		l.refused("full")
		c.Close()
		return
	}
	own := l.crowds[in]
	if own == nil {
		own = &line{in: in}
		l.crowds[in] = own
		l.ring = append(l.ring, own)
	}
	if _, ok := l.queues[from]; !ok {
		own.addresses = append(own.addresses, from)
	}
	l.queues[from] = append(l.queues[from], &waiting{c, time.Now()})
	l.n++
	l.sizes.change(in, 1)
	l.hall.look()
}

// makeRoom turns away the last of an address of the largest crowd, unless in is as large.
func (l *lobby) makeRoom(in netip.Prefix) bool {
	largest, n := l.sizes.largest()
	if n <= l.sizes.of[in]+1 {
		return false
	}
	for _, from := range l.crowds[largest].addresses {
		if last := len(l.queues[from]) - 1; last >= 0 {
			l.refused("full")
			l.remove(from, last).Close()
			return true
		}
	}
	return false
}

// remove takes out the one at i of an address. What is empty then is taken out of its
// ring when its turn comes, or by the next sweep.
func (l *lobby) remove(from netip.Prefix, i int) *waiting {
	w := l.queues[from][i]
	l.queues[from] = slices.Delete(l.queues[from], i, i+1)
	l.n--
	l.sizes.change(crowd(from), -1)
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
	if l.hall.closed() {
		return nil
	}
	for i, tried := 0, 0; tried < tries && i < len(l.ring); tried++ {
		own := l.ring[i]
		c, some := l.nextOf(own)
		switch {
		case !some:
			delete(l.crowds, own.in)
			l.ring = slices.Delete(l.ring, i, i+1)
			tried--
		case c != nil:
			l.ring = append(slices.Delete(l.ring, i, i+1), own)
			return c
		case l.hall.count() < l.hall.max: // its addresses have all that they get
			l.ring = append(slices.Delete(l.ring, i, i+1), own)
		default:
			i++
		}
	}
	return nil
}

// nextOf lets one of a crowd in, nil if there is no room for any; some: one waits.
func (l *lobby) nextOf(own *line) (c net.Conn, some bool) {
	for i, tried := 0, 0; tried < tries && i < len(own.addresses); tried++ {
		from := own.addresses[i]
		for len(l.queues[from]) > 0 && sock.Gone(l.queues[from][0].Conn) {
			l.remove(from, 0).Close()
		}
		if len(l.queues[from]) == 0 {
			delete(l.queues, from)
			own.addresses = slices.Delete(own.addresses, i, i+1)
			tried--
			continue
		}
		if c := l.enter(from, l.queues[from][0]); c != nil {
			l.remove(from, 0)
			own.addresses = append(slices.Delete(own.addresses, i, i+1), from)
			return c, true
		}
		i++
	}
	return nil, len(own.addresses) > 0
}

// enter lets w into the hall; nil: there is no room for it.
func (l *lobby) enter(from netip.Prefix, w *waiting) net.Conn {
	leave, ok := l.hall.enter(from, func() {
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

// keepSwept sweeps until nothing more comes.
func (l *lobby) keepSwept() {
	tick := time.NewTicker(sweepAll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.sweep(time.Now())
		case <-l.over:
			return
		}
	}
}

// sweep takes out those who have hung up, and turns away those who have waited for too
// long, or sent more than a hello: it stays in the kernel's memory.
func (l *lobby) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for from, queue := range l.queues {
		for i := len(queue) - 1; i >= 0; i-- {
			w := queue[i]
			switch {
			case sock.Gone(w.Conn):
			case now.Sub(w.since) >= waitFor, sock.Unread(w.Conn) > unread:
				l.refused("full")
			default:
				continue
			}
			l.remove(from, i).Close()
		}
	}
	l.ring = slices.DeleteFunc(l.ring, func(own *line) bool {
		own.addresses = slices.DeleteFunc(own.addresses, func(from netip.Prefix) bool {
			if len(l.queues[from]) > 0 {
				return false
			}
			delete(l.queues, from)
			return true
		})
		if len(own.addresses) == 0 {
			delete(l.crowds, own.in)
		}
		return len(own.addresses) == 0
	})
	l.hall.look() // those who stood before others may be gone
}

// clear closes all who wait.
func (l *lobby) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for from := range l.queues {
		for len(l.queues[from]) > 0 {
			l.remove(from, 0).Close()
		}
	}
}

// count is how many wait.
func (l *lobby) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}
