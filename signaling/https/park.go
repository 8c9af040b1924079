package https

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// Two polls of one device may be parked: the one in use, and one whose connection died
// unnoticed. A third takes the place of the oldest.
const lotDepth = 2

// A poll is parked from register to claim, and whoever claims it answers it:
//
//	            register                 claim (once)
//	poll ───────────────────► parked ───────────────────► answered
//	   └── pull again after       ├── a command was pushed (wake)
//	       register, for a push   ├── its wait ended (timer)
//	       between pull and       ├── a third poll came, or its request's context ended
//	       register               └── the Sender or its http.Server closes
//
// So a push is either seen by the pull after register, or finds the poll registered.
type parked struct {
	device string
	after  Mark
	epoch  string // the queue's
	timer  *time.Timer
	server *http.Server // nil: the request's own goroutine waits
	line   line
}

// line is how a parked poll's answer gets out.
type line interface {
	respond(code int, h http.Header, body []byte)
	// drop ends the poll without a result.
	drop()
}

// lot holds the parked polls.
type lot struct {
	mu      sync.Mutex
	devices map[string][]*parked // oldest first
	servers map[*http.Server]bool
	closed  chan struct{}
}

func (l *lot) init() {
	l.devices = make(map[string][]*parked)
	l.servers = make(map[*http.Server]bool)
	l.closed = make(chan struct{})
}

func (l *lot) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// register parks p until expire fires after wait. It returns the poll whose place p took,
// already claimed, if any; false when the lot is closed.
func (l *lot) register(p *parked, wait time.Duration, expire func()) (evicted *parked, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed() {
		return nil, false
	}
	polls := l.devices[p.device]
	if len(polls) >= lotDepth {
		evicted = polls[0]
		evicted.timer.Stop()
		polls = slices.Delete(polls, 0, 1)
	}
	p.timer = time.AfterFunc(wait, expire)
	l.devices[p.device] = append(polls, p)
	return evicted, true
}

// claim takes p out; of several claims one is told true.
func (l *lot) claim(p *parked) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	polls := l.devices[p.device]
	i := slices.Index(polls, p)
	if i < 0 {
		return false
	}
	p.timer.Stop()
	if polls = slices.Delete(polls, i, i+1); len(polls) == 0 {
		delete(l.devices, p.device)
	} else {
		l.devices[p.device] = polls
	}
	return true
}

// waiting are the device's parked polls; "" means every device's.
func (l *lot) waiting(device string) []*parked {
	l.mu.Lock()
	defer l.mu.Unlock()
	if device != "" {
		return slices.Clone(l.devices[device])
	}
	var all []*parked
	for _, polls := range l.devices {
		all = append(all, polls...)
	}
	return all
}

// watch says whether srv is seen for the first time.
func (l *lot) watch(srv *http.Server) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.servers[srv] {
		return false
	}
	l.servers[srv] = true
	return true
}

// close refuses later polls and drops the parked ones.
func (l *lot) close() {
	l.mu.Lock()
	if !l.isClosed() {
		close(l.closed)
	}
	l.mu.Unlock()
	l.drop(func(*parked) bool { return true })
}

// drop ends the parked polls that match, without an answer.
func (l *lot) drop(match func(*parked) bool) {
	for _, p := range l.waiting("") {
		if match(p) && l.claim(p) {
			p.line.drop()
		}
	}
}
