package held

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// Config of Sessions. Its zero value works.
type Config struct {
	Grace time.Duration // after the last tab, until a session is left; default 60 s, negative: none
	Most  int           // sessions of one user at once; default 8
	Ports []keys.Port   // that a session asks for unless the user says; default tcp/22, tcp/445 and tcp/3389
	// Operator is how sessions are opened beyond what a user asks for: relays, sockets,
	// roots.
	Operator operator.Config
	Logger   *zap.Logger // default silent
	Now      func() time.Time
}

const (
	defaultGrace = time.Minute
	defaultMost  = 8
	// kept is how long one may look up how a session ended.
	kept = 10 * time.Minute
	// maxKept bounds the sessions of one user that are over and kept.
	maxKept = 16
)

// Who is a user in one of his logins.
type Who struct {
	User  string
	Login string          // opaque, of one browser
	Until context.Context // ends with the login; nil: it does not
}

// ended reports whether the login has ended.
func (w Who) ended() bool { return w.Until != nil && w.Until.Err() != nil }

// end is why it has.
func (w Who) end() *client.Error {
	if e, ok := errors.AsType[*client.Error](context.Cause(w.Until)); ok {
		return e
	}
	return errSignedOut
}

// Sessions are all that a console holds. They are safe for concurrent use.
type Sessions struct {
	cfg   Config
	codes *codes
	work  sync.WaitGroup

	mu      sync.Mutex // before a Session's
	shut    bool
	held    map[name]*Session
	opening map[place]chan struct{} // closed when it is open, or not
}

// A name is what a session is known by: each user has an end of his own.
type name struct{ user, session string }

// A place is where a user has one session at most.
type place struct{ user, device string }

// New returns sessions that hold none yet; Close leaves them.
func New(cfg *Config) *Sessions {
	h := &Sessions{held: make(map[name]*Session), opening: make(map[place]chan struct{})}
	if cfg != nil {
		h.cfg = *cfg
	}
	if h.cfg.Grace == 0 {
		h.cfg.Grace = defaultGrace
	}
	h.cfg.Grace = max(h.cfg.Grace, 0)
	if h.cfg.Most <= 0 {
		h.cfg.Most = defaultMost
	}
	if len(h.cfg.Ports) == 0 {
		h.cfg.Ports = []keys.Port{keys.TCP(22), keys.TCP(445), keys.TCP(3389)}
	}
	if h.cfg.Logger == nil {
		h.cfg.Logger = zap.NewNop()
	}
	if h.cfg.Now == nil {
		h.cfg.Now = time.Now
	}
	h.codes = newCodes(h.cfg.Now)
	return h
}

// A Request is what a user wants of a device.
type Request struct {
	Who      Who
	API      *client.Client // control, as that user
	Device   string
	Reason   string
	Ticket   string
	Ports    []keys.Port   // default Config.Ports
	Lifetime time.Duration // default control's
	EndToEnd bool
}

var (
	errNotHeld  = client.Refuse(http.StatusNotFound, "not_held", "this console does not hold that session for you")
	errStopping = client.Refuse(http.StatusServiceUnavailable, "stopping", "the console is stopping")
	errOver     = client.Refuse(http.StatusConflict, keys.ReasonClosed, "the session is over")
)

// Open opens a session with a device, or returns the one that the user has there
// already. It returns when control has agreed; ctx bounds the call. Refusals, control's
// and its own, are or wrap a *client.Error.
func (h *Sessions) Open(ctx context.Context, r Request) (*Session, error) {
	if len(r.Ports) == 0 {
		r.Ports = h.cfg.Ports
	}
	at := place{r.Who.User, r.Device}
	there, done, err := h.reserve(ctx, at)
	if err != nil {
		return nil, err
	}
	if there != nil {
		return there, there.covers(r.Ports)
	}
	defer done()
	cfg := h.cfg.Operator
	cfg.Ports, cfg.Reason, cfg.Ticket, cfg.Lifetime, cfg.EndToEnd = r.Ports, r.Reason, r.Ticket, r.Lifetime, r.EndToEnd
	cfg.Logger = h.cfg.Logger
	began := h.cfg.Now()
	op, err := operator.Open(ctx, r.API, r.Device, &cfg)
	if err != nil {
		return nil, err
	}
	return h.hold(newSession(h, r, op, began))
}

// reserve returns the session that a user has at a device, or has others wait until
// done is called.
func (h *Sessions) reserve(ctx context.Context, at place) (there *Session, done func(), err error) {
	for {
		h.mu.Lock()
		there, busy, err := h.look(at)
		if err != nil || there != nil {
			h.mu.Unlock()
			return there, nil, err
		}
		if busy == nil {
			opened := make(chan struct{})
			h.opening[at] = opened
			h.work.Add(1)
			h.mu.Unlock()
			return nil, func() {
				h.mu.Lock()
				delete(h.opening, at)
				h.mu.Unlock()
				close(opened)
				h.work.Done()
			}, nil
		}
		h.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// look says what a user has at a device: a session, one that is being opened, or room
// for one; mu is held.
func (h *Sessions) look(at place) (there *Session, busy <-chan struct{}, err error) {
	if h.shut {
		return nil, nil, errStopping
	}
	if busy := h.opening[at]; busy != nil {
		return nil, busy, nil
	}
	n := 0
	for p := range h.opening {
		if p.user == at.user {
			n++
		}
	}
	for of, s := range h.held {
		if of.user != at.user || s.isOver() {
			continue
		}
		if s.Device == at.device {
			return s, nil, nil
		}
		n++
	}
	if n >= h.cfg.Most {
		return nil, nil, client.Refuse(http.StatusTooManyRequests, "too_many_sessions",
			fmt.Sprintf("you have %d sessions open here, which is the most", n))
	}
	return nil, nil, nil
}

// hold takes s in, and follows it until it is over.
func (h *Sessions) hold(s *Session) (*Session, error) {
	h.mu.Lock()
	if h.shut {
		h.mu.Unlock()
		_ = s.op.Close()
		return nil, errStopping
	}
	h.held[name{s.user, s.ID}] = s
	h.work.Add(1)
	h.mu.Unlock()
	go func() {
		defer h.work.Done()
		s.follow()
	}()
	s.rearm()
	return s, nil
}

// Find returns a session that is held for a user, or was until lately.
func (h *Sessions) Find(user, session string) (*Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.held[name{user, session}]
	if s == nil {
		return nil, errNotHeld
	}
	return s, nil
}

// Of are the ids of the sessions that are held for a user, or were until lately.
func (h *Sessions) Of(user string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := []string{}
	for of := range h.held {
		if of.user == user {
			list = append(list, of.session)
		}
	}
	slices.Sort(list)
	return list
}

// Redeem takes a code that somebody shows for a protocol, once, and opens a tab of the
// session that it is of; see Session.Tab.
func (h *Sessions) Redeem(ctx context.Context, code string, who Who, p Protocol) (*Tab, error) {
	id, why := h.codes.redeem(code, who, p)
	if why != "" {
		h.cfg.Logger.Warn("a connect code was refused", zap.String("why", why), zap.String("user", who.User), zap.String("protocol", string(p)))
		return nil, errBadCode
	}
	s, err := h.Find(who.User, id)
	if err != nil {
		return nil, err
	}
	return s.Tab(ctx, who)
}

var errBadCode = client.Refuse(http.StatusUnauthorized, "bad_code", "the connect code is not good, or not any more")

func (h *Sessions) all() []*Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*Session
	for _, s := range h.held {
		list = append(list, s)
	}
	return list
}

// retire drops s after a while, and the oldest of its user that are over at once.
func (h *Sessions) retire(s *Session) {
	h.codes.drop(func(b bond) bool { return b.session == s.ID && b.who.User == s.user })
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.shut {
		return
	}
	var over []*Session
	for of, o := range h.held {
		if of.user == s.user && o.isOver() {
			over = append(over, o)
		}
	}
	slices.SortFunc(over, func(a, b *Session) int { return a.Opened.Compare(b.Opened) })
	for _, o := range over[:max(len(over)-maxKept, 0)] {
		h.drop(o)
	}
	s.gone = time.AfterFunc(kept, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.drop(s)
	})
}

// drop forgets s, unless the same session is held anew; mu is held.
func (h *Sessions) drop(s *Session) {
	if of := (name{s.user, s.ID}); h.held[of] == s {
		delete(h.held, of)
	}
}

// Close leaves all sessions and waits until nothing of them is left here.
func (h *Sessions) Close() {
	h.mu.Lock()
	h.shut = true
	h.mu.Unlock()
	for _, s := range h.all() {
		s.background(whyStopping)
	}
	h.work.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.held {
		if s.gone != nil {
			s.gone.Stop()
		}
	}
	clear(h.held)
}
