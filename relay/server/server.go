// Package server is the relay: it pairs the two legs of a session and forwards
// between them, and only between them. The protocol is in package relay's doc. It
// keeps nothing beyond the sessions that are open, and holds no key but its own: what
// control signs it can check and not make.
package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/internal/tally"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/internal/queue"
	"github.com/boothwire/boothwire/relay/internal/sock"
	"github.com/boothwire/boothwire/relay/internal/wire"
)

// A Server is one relay. Its methods are safe for concurrent use.
type Server struct {
	name    string
	key     keys.PrivateKey
	inside  inside
	roots   *keys.Roots
	cfg     Config
	log     *zap.Logger
	hall    *hall                 // of those that have proved nothing
	lobby   atomic.Pointer[lobby] // of those that wait to; nil: before Serve
	lone    door                  // of those that wait by themselves for long
	queues  *sync.Pool
	buffers sync.Pool // of *[]byte, readBuffer long
	epoch   time.Time
	work    sync.WaitGroup

	share *share // of the total rate; nil: there is none

	accepted, cloned, replaced atomic.Uint64

	tally sync.Mutex // while a leg's counters go from its pair to past

	mu      sync.Mutex
	pairs   map[string][]*pair // by session; there is one, unless control changed a key
	legs    int
	revoked map[string]time.Time // sessions, and when nobody needs to know any more
	swept   time.Time            // when revoked was looked through
	reasons map[string]uint64
	past    Traffic   // of legs that are over
	waits   Histogram // until both legs were there
	drain   bool
	closed  bool
}

// New returns a relay of that name, which tokens name, with its own key, which
// grants carry, and the roots that vouch for tokens. Nothing runs before Serve.
func New(name string, key keys.PrivateKey, roots *keys.Roots, cfg *Config) (*Server, error) {
	switch {
	case !keys.ValidID(name):
		return nil, fmt.Errorf("relay: %q is no name of a relay", name)
	case key.IsZero():
		return nil, errors.New("relay: a key is required")
	case roots == nil:
		return nil, errors.New("relay: roots are required")
	}
	c := cfg.withDefaults()
	s := &Server{
		name: name, key: key, inside: newInside(), roots: roots, cfg: c, log: c.Logger.With(zap.String("relay", name)),
		hall: newHall(c.Open, c.PerIP), lone: door{max: c.Lone, perIP: c.LonePerIP}, queues: queue.NewPool(), epoch: time.Now(),
		buffers: sync.Pool{New: func() any { b := make([]byte, readBuffer); return &b }},
		pairs:   make(map[string][]*pair), revoked: make(map[string]time.Time), reasons: make(map[string]uint64),
		waits: tally.New(waitBounds),
	}
	if c.RateTotal > 0 {
		s.share = newShare(float64(c.RateTotal) / 8)
	}
	return s, nil
}

// Serve takes legs from ln until ctx ends; then it tells all of them to go
// elsewhere, cuts those that are left after Config.Drain, and returns nil. It is called
// once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if s.cfg.TLS == nil {
		return errors.New("relay: Serve needs a TLS config")
	}
	t := s.cfg.TLS.Clone()
	t.MinVersion = tls.VersionTLS13
	t.DynamicRecordSizingDisabled = true // full records from the first byte: each one is a read at the far side
	t.NextProtos = []string{"http/1.1"}
	t.SessionTicketsDisabled = true // no leg shows one
	turns, next := newGate(), t.GetConfigForClient
	t.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if err := turns.pass(hello.Conn.(*counted)); err != nil {
			if err == errBusy {
				s.refuse("busy")
			}
			hello.Conn.Close() // no alert: nothing is wrong with what it said
			return nil, err
		}
		if next == nil {
			return nil, nil
		}
		return next(hello)
	}
	descriptors := sock.Descriptors()
	room := func() int { return s.mayWait(descriptors) }
	front := newLobby(sock.Listen(ln), s.hall, room, waitPerIP*s.cfg.PerIP, s.refuse)
	s.lobby.Store(front)
	go front.take()
	hs := &http.Server{
		Handler: s, ReadHeaderTimeout: proveFor, IdleTimeout: proveFor, MaxHeaderBytes: maxHeader,
		ErrorLog: zap.NewStdLog(s.log.WithOptions(zap.IncreaseLevel(zap.FatalLevel))), // what strangers do wrong is counted
	}
	failed := make(chan error, 2)
	go func() { failed <- hs.Serve(tls.NewListener(front, t)) }()
	go func() { failed <- hs.Serve(s.inside) }()
	select {
	case err := <-failed:
		hs.Close()
		<-failed
		<-front.over
		s.Close()
		return fmt.Errorf("relay: %w", err)
	case <-ctx.Done():
	}
	ln.Close()
	s.Drain()
	hs.Close()
	<-failed
	<-failed
	<-front.over
	return s.Close()
}

// spare are the descriptors of what is neither a leg nor a stranger.
const spare = 256

// mayWait is how many connections may wait now, where the process may have so many
// descriptors, 0: nobody knows. Strangers must not take those of legs.
func (s *Server) mayWait(descriptors int) int {
	if descriptors == 0 {
		return s.cfg.Waiting
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(s.cfg.Waiting, max(descriptors-s.legs-s.cfg.Open-spare, 1))
}

// ServeHTTP takes a leg from a server of the host's own, which must speak HTTP/1.1
// over TLS there. Config.Open and PerIP count such a connection from here on. A host
// that does not call Serve calls Drain, if it likes, and Close at the end.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != wire.Path {
		s.cfg.Other.ServeHTTP(w, r)
		return
	}
	webSocket := strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	if r.Method != http.MethodGet || r.ProtoMajor != 1 || !webSocket && r.Header.Get("Upgrade") != wire.Protocol {
		w.Header().Set("Upgrade", wire.Protocol)
		s.no(w, http.StatusUpgradeRequired, "malformed", "this is a relay of boothwire")
		return
	}
	token := []byte(r.Header.Get(wire.TokenHeader))
	t, err := s.verify(token)
	if err != nil {
		s.no(w, http.StatusForbidden, codeOf(err), err.Error())
		return
	}
	s.mu.Lock()
	code := s.room(t)
	s.mu.Unlock()
	if code != "" {
		s.no(w, http.StatusServiceUnavailable, code, "not now")
		return
	}
	nonce := make([]byte, wire.NonceSize)
	rand.Read(nonce)
	text := base64.RawURLEncoding.EncodeToString(nonce)
	var conn net.Conn
	if webSocket {
		conn, err = upgradeWebSocket(w, r, text)
	} else {
		conn, err = upgrade(w, text)
	}
	if err != nil {
		s.refuse("malformed")
		return
	}
	l := &leg{s: s, conn: conn, from: source(conn.RemoteAddr()), webSocket: webSocket}
	if c, ok := below(conn).(*counted); ok {
		l.passed = c.leave
		c.asked.Store(true)
	} else if leave, ok := s.hall.enter(l.from, func() { s.refuse("full"); conn.Close() }); ok {
		l.passed = leave
	} else {
		s.refuse("full")
		conn.Close()
		return
	}
	sock.Tune(conn)
	l.out = newQueue(s.queues, conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		l.passed()
		conn.Close()
		return
	}
	// A goroutine of its own: the request's has a deep stack, for as long as the leg.
	s.work.Go(func() { l.serve(t, token, nonce) })
}

// verify checks a token and that it is for this relay, now.
func (s *Server) verify(token []byte) (*keys.Token, error) {
	t, err := s.roots.VerifyToken(token)
	if err == nil {
		err = t.ForRelay(s.name, s.cfg.Now())
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// no answers a request that becomes no leg.
func (s *Server) no(w http.ResponseWriter, status int, code, detail string) {
	s.refuse(code)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Connection", "close")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "detail": detail})
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*keys.GrantError](err); ok {
		return e.Reason
	}
	return "malformed"
}
