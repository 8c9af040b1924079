package https

import (
	"net/http"
	"time"
)

// poll answers at once if a command waits or the device wants no wait, or parks the poll.
func (s *Sender) poll(w http.ResponseWriter, r *http.Request, c call) {
	command, at, err := s.pull(c.device, c.after)
	if err != nil || at.N != 0 || c.wait == 0 || s.lot.isClosed() {
		writeAnswer(w)(s.answer(c.device, command, at, err))
		return
	}
	p := &parked{device: c.device, after: c.after, epoch: at.Epoch}
	if l, srv := takeOver(w, r); l != nil {
		p.line, p.server = l, srv
		if s.lot.watch(srv) {
			srv.RegisterOnShutdown(func() {
				s.lot.drop(func(p *parked) bool { return p.server == srv })
			})
		}
		s.park(p, c)
		return
	}
	// A read deadline of the server's would end the request's context.
	http.NewResponseController(w).SetReadDeadline(time.Time{})
	wait := newGoroutineLine()
	p.line = wait
	s.park(p, c)
	select {
	case <-r.Context().Done():
		if s.lot.claim(p) {
			return
		}
	case <-wait.done:
	}
	<-wait.done
	if wait.code == 0 {
		refuse(w, http.StatusServiceUnavailable)
		return
	}
	writeAnswer(w)(wait.code, wait.header, wait.body)
}

// park registers p and looks into the queue once more; whoever claims p answers it, so
// park has to answer only what it cannot register.
func (s *Sender) park(p *parked, c call) {
	evicted, ok := s.lot.register(p, c.wait, func() { s.expire(p) })
	if evicted != nil {
		evicted.line.drop()
	}
	if !ok {
		p.line.drop()
		return
	}
	s.check(p)
}

// check answers p if its command is there. Of several at once one answers.
func (s *Sender) check(p *parked) {
	command, at, err := s.pull(p.device, p.after)
	if (err != nil || at.N != 0) && s.lot.claim(p) {
		p.line.respond(s.answer(p.device, command, at, err))
	}
}

// expire answers p that nothing came, by the epoch that it was parked under: if the queue
// has another by now, the next poll learns it.
func (s *Sender) expire(p *parked) {
	if s.lot.claim(p) {
		p.line.respond(s.answer(p.device, nil, Mark{Epoch: p.epoch}, nil))
	}
}

// wake is what the queue calls after a push: it starts what answers, and returns.
func (s *Sender) wake(device string) {
	for _, p := range s.lot.waiting(device) {
		go s.check(p)
	}
}

// writeAnswer adapts an answer to a ResponseWriter.
func writeAnswer(w http.ResponseWriter) func(code int, h http.Header, body []byte) {
	return func(code int, h http.Header, body []byte) {
		for name, values := range h {
			w.Header()[name] = values
		}
		w.WriteHeader(code)
		if len(body) > 0 {
			w.Write(body)
		}
	}
}

// goroutineLine hands the answer to the goroutine that net/http started for the request.
type goroutineLine struct {
	done   chan struct{}
	code   int // 0: dropped
	header http.Header
	body   []byte
}

func newGoroutineLine() *goroutineLine { return &goroutineLine{done: make(chan struct{})} }

func (l *goroutineLine) respond(code int, h http.Header, body []byte) {
	l.code, l.header, l.body = code, h, body
	close(l.done)
}

func (l *goroutineLine) drop() { close(l.done) }
