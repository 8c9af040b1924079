package nat

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// ServeSTUN answers Binding requests on each of conns (RFC 8489) until ctx ends,
// then returns nil. It returns an error at once if there is no conn, and as soon as
// one of them is closed or broken. The conns are not closed; while it runs nobody
// else reads them, and afterwards they have no read deadline.
//
// Four conns of one family that are bound to two addresses and two ports, each with
// each, also give the behaviour tests of RFC 5780: OTHER-ADDRESS, RESPONSE-ORIGIN,
// CHANGE-REQUEST. The addresses must be those that clients see. PADDING and
// RESPONSE-PORT are refused. Both families may be served at once, by eight conns.
//
// Nobody is asked for credentials. A source has 50 answers a second; an answer is,
// with its IP and UDP headers, at most twice as long as the request. Responses
// are delayed on demand, see the package.
func ServeSTUN(ctx context.Context, conns ...net.PacketConn) error {
	if len(conns) == 0 {
		return &Error{Reason: ReasonConfig, Err: errors.New("no socket to serve STUN on")}
	}
	s := &stunServer{
		limit: newLimiter(time.Now()),
		queue: newDelays(),
		wake:  make(chan struct{}, 1),
	}
	var locals []netip.AddrPort
	for _, c := range conns {
		if c == nil {
			return &Error{Reason: ReasonConfig, Err: errors.New("a socket to serve STUN on is nil")}
		}
		sock := newPacketSock(c)
		s.socks = append(s.socks, sock)
		locals = append(locals, sock.local())
	}
	s.views = vantages(locals)
	return s.serve(ctx)
}

// A stunServer shares its limits among its sockets.
type stunServer struct {
	socks []packetSock
	views []vantage
	wake  chan struct{} // has a token when another response is the next one

	mu    sync.Mutex // guards what is below
	limit *limiter
	queue *delays
}

func (s *stunServer) serve(ctx context.Context) error {
	caller := ctx
	ctx, cancel := context.WithCancelCause(caller)
	defer cancel(nil)
	var readers, sender sync.WaitGroup
	for i, sock := range s.socks {
		sock.restore()
		readers.Go(func() {
			err := sock.receive(func(b []byte, from netip.AddrPort) { s.handle(i, b, from) })
			cancel(&Error{Reason: ReasonSocket, Err: err})
		})
	}
	sender.Go(func() { s.sendDelayed(ctx) })
	<-ctx.Done()
	for _, sock := range s.socks {
		sock.unblock()
	}
	readers.Wait()
	sender.Wait()
	for _, sock := range s.socks {
		sock.restore()
	}
	if caller.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// handle answers a datagram, now or later. A reply that cannot be sent is lost, as
// it might be on its way.
func (s *stunServer) handle(index int, b []byte, from netip.AddrPort) {
	r := s.views[index].answer(b, from)
	if r.reply == nil {
		return
	}
	if reply := s.admit(index, from, r, time.Now()); reply != nil {
		_ = s.socks[r.via].write(reply, from)
	}
}

// admit returns what is sent at once.
func (s *stunServer) admit(index int, from netip.AddrPort, r ruling, now time.Time) []byte {
	source := sourceOf(from.Addr())
	key := delayKey{index, from, r.id}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.limit.allow(source, now) || s.queue.waits(key):
		return nil
	case r.delay == 0:
		return r.reply
	case !s.queue.room(source, r.delay):
		return r.now
	}
	first := s.queue.add(delayed{key: key, source: source, due: now.Add(r.delay), reply: r.reply, via: r.via})
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// sendDelayed sends what is due, until ctx ends.
func (s *stunServer) sendDelayed(ctx context.Context) {
	timer := time.NewTimer(delayMost)
	defer timer.Stop()
	for {
		s.mu.Lock()
		r, ok := s.queue.take(time.Now())
		due, more := s.queue.next()
		s.mu.Unlock()
		if ok {
			_ = s.socks[r.via].write(r.reply, r.key.from)
			continue
		}
		if !more {
			due = time.Now().Add(delayMost)
		}
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
			return
		}
	}
}

// vantages finds the alternates: of a family with exactly four sockets at two
// addresses and two ports.
func vantages(locals []netip.AddrPort) []vantage {
	all := make([]vantage, len(locals))
	for i, self := range locals {
		v := &all[i]
		*v = vantage{index: i, corners: [4]corner{{i, self}}}
		if !self.IsValid() || self.Addr().IsUnspecified() {
			continue
		}
		found := [4]int{1}
		for j, other := range locals {
			if other.Addr().BitLen() != self.Addr().BitLen() {
				continue
			}
			flags := 0
			if other.Port() != self.Port() {
				flags |= 1
			}
			if other.Addr() != self.Addr() {
				flags |= 2
			}
			if j != i {
				v.corners[flags] = corner{j, other}
				found[flags]++
			}
		}
		v.alternates = found == [4]int{1, 1, 1, 1} &&
			v.corners[1].addr.Port() == v.corners[3].addr.Port() &&
			v.corners[2].addr.Addr() == v.corners[3].addr.Addr()
		if !v.alternates {
			v.corners = [4]corner{{i, self}}
		}
	}
	return all
}
