package nat

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/boothwire/boothwire/nat/internal/mux"
	"go.uber.org/zap"
)

// attemptMost is how long one generation is tried: NATs need no more than a few
// checks each way, the rest is for signaling by way of a broker.
const attemptMost = 10 * time.Second

// A search is what stands behind one Dial or Accept, and then behind its Conn:
// the socket's reader, the exchanger's reader, and the attempt of the newest
// generation. One goroutine, run, owns all but what is said to be others'.
//
//	Dial ─────► attempt ──pair selected──► Conn ──Close──► end
//	              ▲   │                     ▲
//	Accept ─offer─┘   └──10 s──► end        └─lost when: checks stop, pair moves,
//	              newer generation: anew      newer generation, socket fails
type search struct {
	cfg     Config
	servers []server
	role    end
	secret  []byte
	x       Exchanger
	mux     *mux.Mux
	local   net.Addr
	log     *zap.Logger

	ctx    context.Context // ends with close
	cancel context.CancelFunc
	work   sync.WaitGroup // every goroutine but run
	heard  chan []byte    // from the exchanger
	failed chan error     // its end
	send   chan []byte    // to it
	do     chan func()    // from an attempt's callbacks, to run
	done   chan struct{}  // closed when run has returned
	ready  chan struct{}  // closed when conn is set
	conn   *Conn          // written before ready is closed
	since  time.Time      // of conn
	err    error          // written before done is closed

	try      *attempt // nil: Accept has heard nothing yet
	deadline *time.Timer
}

// start begins a search.
func start(ctx context.Context, sock net.PacketConn, x Exchanger, secret []byte, cfg Config, servers []server, role end) (*search, error) {
	m, err := mux.New(sock, mux.Config{Refuse: cfg.Refuse})
	if err != nil {
		return nil, &Error{Reason: ReasonSocket, Err: err}
	}
	s := &search{
		cfg:      cfg,
		servers:  servers,
		role:     role,
		secret:   append([]byte(nil), secret...),
		x:        x,
		mux:      m,
		local:    sock.LocalAddr(),
		log:      cfg.Logger.With(zap.String("role", string(role))),
		heard:    make(chan []byte),
		failed:   make(chan error, 1),
		send:     make(chan []byte, 1),
		do:       make(chan func()),
		done:     make(chan struct{}),
		ready:    make(chan struct{}),
		deadline: time.NewTimer(attemptMost),
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if role == controlled {
		s.deadline.Stop()
	}
	s.work.Go(s.receive)
	s.work.Go(s.transmit)
	go s.run()
	return s, nil
}

// close ends the search and waits for all of it.
func (s *search) close() {
	s.cancel()
	<-s.done
}

// receive hands the exchanger's messages over.
func (s *search) receive() {
	for {
		sealed, err := s.x.ReceiveOffer(s.ctx)
		if s.ctx.Err() != nil {
			return
		}
		if err != nil {
			s.failed <- err
			return
		}
		select {
		case s.heard <- sealed:
		case <-s.ctx.Done():
			return
		}
	}
}

// transmit passes messages on. What cannot be sent is sent again by its own
// timer.
func (s *search) transmit() {
	for {
		select {
		case sealed := <-s.send:
			if err := s.x.SendOffer(s.ctx, sealed); err != nil && s.ctx.Err() == nil {
				s.log.Debug("offer not sent", zap.Error(err))
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// run is the search. It returns when the search is closed or has failed before
// there was a Conn.
func (s *search) run() {
	defer close(s.done)
	defer s.clear()
	if s.role == controlling {
		// Newer than that of any earlier Dial, of this process or another.
		if s.err = s.begin(uint64(time.Now().UnixMicro())); s.err != nil {
			return
		}
	}
	resend := time.NewTimer(0)
	defer resend.Stop()
	socket := s.mux.Done()
	for s.err == nil {
		var due <-chan time.Time
		if at := s.tick(time.Now()); !at.IsZero() {
			resend.Reset(time.Until(at))
			due = resend.C
		}
		select {
		case sealed := <-s.heard:
			s.hear(sealed)
		case f := <-s.do:
			f()
		case <-due:
		case <-s.deadline.C:
			s.giveUp()
		case err := <-s.failed:
			s.deaf(err)
		case <-socket:
			socket = nil
			s.lose(&Error{Reason: ReasonSocket, Err: s.mux.Err()})
		case <-s.ctx.Done():
			return
		}
	}
}

// clear ends everything that run started, and what it depends on.
func (s *search) clear() {
	s.deadline.Stop()
	s.cancel()
	if s.try != nil {
		s.try.stop()
	}
	s.work.Wait()
	_ = s.mux.Close()
	if s.conn != nil {
		s.conn.lose(net.ErrClosed)
	}
}

// A path is often found before the report is known, which takes a probe. So the far
// end is told of it for some time after that, if it comes.
const (
	reportLate  = 20 * time.Second
	reportEvery = 250 * time.Millisecond
)

// tick sends what is due and returns when the next will be.
func (s *search) tick(now time.Time) time.Time {
	if s.try == nil {
		return time.Time{}
	}
	x := &s.try.exchange
	asks := s.cfg.Report != nil && (s.conn == nil || now.Before(s.since.Add(reportLate)))
	if asks {
		x.report(now, s.cfg.Report())
	}
	if s.conn != nil && s.try.quiet() && (x.reported() || !asks) {
		if asks {
			return now.Add(reportEvery)
		}
		return time.Time{}
	}
	if o := x.next(now); o != nil {
		sealed, err := o.seal(s.try.own)
		if err != nil {
			s.log.Debug("offer not sealed", zap.Error(err))
			return x.at
		}
		select {
		case s.send <- sealed:
		default: // the exchanger still has the one before
		}
	}
	if next := now.Add(reportEvery); asks && (x.at.IsZero() || x.at.After(next)) {
		return next
	}
	return x.at
}

// begin starts the attempt of a generation, and ends the one before.
func (s *search) begin(generation uint64) error {
	if s.try != nil {
		s.try.stop()
		s.try = nil
	}
	a, err := s.newAttempt(generation)
	if err != nil {
		return &Error{Reason: ReasonInternal, Err: err}
	}
	s.try = a
	s.deadline.Reset(attemptMost)
	s.log.Debug("looking for a path", zap.Uint64("generation", generation))
	return nil
}
