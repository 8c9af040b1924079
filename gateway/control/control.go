package control

import (
	"context"
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

	"github.com/boothwire/boothwire/gateway/control/internal/pool"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// Control is one control process. It is safe for concurrent use; Close ends its
// life.
//
// Lock order: session.issuing, then mu, then the locks of queues and of the feed. Nothing that
// waits is done under mu: messages go through couriers, rows through the store's
// writer, lines to nodes through their outboxes.
type Control struct {
	cfg      Config
	log      *zap.Logger
	store    *store.Store
	lead     *lead // nil: the database is this process's alone
	signer   *keys.Signer
	roots    []string
	rootsN   int
	couriers couriers
	audit    auditor
	handler  http.Handler
	queue    pollQueue
	counts   counts
	figures  *figures

	ctx  context.Context // of what outlives a request; ends with Close
	stop context.CancelFunc
	work sync.WaitGroup

	mu        sync.Mutex
	term      context.Context // in which this process decides
	endTerm   context.CancelFunc
	undropped map[string]struct{} // ids of logins that have ended, of which that is not written
	shut      bool
	devices   map[string]*device
	strangers strangers
	sessions  map[string]*session // about which something is left to be done
	nodes     map[string]*node
	tokens    map[string]store.Token // by hash
	pool      *pool.Pool
	shares    shares
	lines     []signaling.Sender
	since     time.Time // when nodes could be heard, without a break until now
	revoked   revoked
	feed      deviceFeed
}

// counts are what Stats tells.
type counts struct {
	statuses, refused, replayed, sent, sendFailed, opened, moved, failed atomic.Uint64
	nodeSpent, alone                                                     spent
}

// Open opens control's database, makes the signing keys if there are none, and finds
// its sessions again. dsn is "file:control.db", which one process can open at a time,
// ":memory:" for a control that forgets, or "postgres://user@host/name": there Open
// waits while another process has the lead; Join is for several. ctx bounds the call.
// Nothing is sent or received before Run, but for the API.
func Open(ctx context.Context, dsn string, cfg *Config) (*Control, error) {
	settled, err := cfg.settled()
	if err != nil {
		return nil, err
	}
	signer, roots, err := openSigner(settled.Store, settled.Issuer)
	if err != nil {
		return nil, err
	}
	n := 1
	if len(settled.RootList) > 0 {
		if roots, n, err = readRootList(settled.RootList); err != nil {
			return nil, err
		}
	}
	p, err := pool.New(settled.Pool)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	var held *lead
	if store.IsPostgres(dsn) {
		if held, err = takeLead(ctx, db, &settled); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	c := &Control{
		lead: held, cfg: settled, log: settled.Logger, store: db, signer: signer, roots: roots, rootsN: n, pool: p,
		devices: make(map[string]*device), sessions: make(map[string]*session), nodes: make(map[string]*node),
		tokens: make(map[string]store.Token), undropped: make(map[string]struct{}), figures: newFigures(),
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.beginTerm()
	c.strangers.init()
	c.revoked = revoked{keep: settled.Longest, changed: make(chan struct{})}
	c.couriers.init(c)
	db.Failed(func(err error) { c.log.Error("not written", zap.Error(err)) })
	if err := errors.Join(c.checkRelays(), c.recover(ctx)); err != nil {
		c.stop()
		c.leaveLead()
		db.Close()
		return nil, err
	}
	c.handler = c.gated(c.routes())
	c.since = c.cfg.Now()
	c.work.Go(c.sweep)
	c.work.Go(c.watchNodes)
	if c.lead != nil {
		c.work.Go(c.keepLead)
	}
	return c, nil
}

// readRootList returns the roots and the number of a list that devices are to have.
// Whether they believe it is theirs to decide.
func readRootList(command []byte) (roots []string, n int, err error) {
	var lists struct {
		Lists []string `json:"lists"`
	}
	if err := json.Unmarshal(command, &lists); err != nil || len(lists.Lists) == 0 {
		return nil, 0, errors.New("control: the list of roots is no roots command")
	}
	var l struct {
		N     int                `json:"n"`
		Roots []keys.IdentityKey `json:"roots"`
	}
	parts := strings.Split(lists.Lists[0], ".")
	payload := []byte(nil)
	if len(parts) == 3 {
		payload, _ = base64.RawURLEncoding.DecodeString(parts[1])
	}
	if err := json.Unmarshal(payload, &l); err != nil || l.N < 1 || len(l.Roots) == 0 {
		return nil, 0, errors.New("control: the list of roots is no roots command")
	}
	return keys.RootList{N: l.N, Roots: l.Roots}.Text(), l.N, nil
}

// Run serves devices through lines until ctx ends; it then returns ctx's error. One
// Run at a time.
func (c *Control) Run(ctx context.Context, lines ...signaling.Sender) error {
	c.mu.Lock()
	switch {
	case c.shut:
		c.mu.Unlock()
		return fmt.Errorf("control: %w", net.ErrClosed)
	case c.lines != nil:
		c.mu.Unlock()
		return errors.New("control: Run is already under way")
	}
	c.lines = append([]signaling.Sender{}, lines...)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	c.resume()
	c.mu.Unlock()
	var listen sync.WaitGroup
	for _, line := range lines {
		listen.Go(func() { c.listen(ctx, line) })
	}
	<-ctx.Done()
	listen.Wait()
	c.mu.Lock()
	c.lines = nil
	c.mu.Unlock()
	if c.ctx.Err() != nil {
		if c.lead != nil && c.lead.lost {
			return ErrDeposed
		}
		return fmt.Errorf("control: %w", net.ErrClosed)
	}
	return context.Cause(ctx)
}

// listen takes the statuses of one line, and goes on after what ends it.
func (c *Control) listen(ctx context.Context, line signaling.Sender) {
	for pause := 100 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
		for msg, err := range line.Statuses(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					c.log.Warn("statuses", zap.Error(err))
				}
				break
			}
			pause = 100 * time.Millisecond
			c.deliver(line, msg)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// ServeHTTP serves the API, its OpenAPI document, /healthz and /readyz, and what
// nodes call. Nodes are known by their certificate: the server must ask for one
// (tls.RequestClientCert) and need not verify it.
func (c *Control) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// Roots returns the texts of the roots that devices and nodes have to trust.
func (c *Control) Roots() []string { return append([]string(nil), c.roots...) }

// Issuer returns the deployment's name.
func (c *Control) Issuer() string { return c.cfg.Issuer }

// Close ends Run and what the API has under way, writes what is left and returns
// when nothing runs any more. Sessions go on without control; the next Open finds
// them. It is idempotent.
func (c *Control) Close() error {
	c.mu.Lock()
	first := !c.shut
	c.shut = true
	for _, s := range c.sessions {
		s.timer.Stop()
	}
	for _, n := range c.nodes {
		if n.gate != nil {
			n.gate.timer.Stop()
		}
	}
	c.mu.Unlock()
	if first {
		c.stop()
	}
	c.work.Wait()
	if first {
		c.audit.flush(c.store, time.Time{})
		c.leaveLead()
	}
	return c.store.Close()
}

// sweepEvery is how often what is old is thrown away.
const sweepEvery = 10 * time.Second

// sweep writes counted audit rows when their minute is over, and forgets what is old.
func (c *Control) sweep() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-c.ctx.Done():
			return
		case <-ticker.C:
		}
		now := c.cfg.Now()
		c.audit.flush(c.store, now)
		c.mu.Lock()
		for _, id := range c.strangers.expire(now) {
			c.feed.touch(id)
		}
		c.revoked.expire(now)
		c.forgetFormer(now)
		c.mu.Unlock()
		if n%60 == 0 {
			c.store.Later("old", func(tx *store.Tx) error {
				return errors.Join(tx.ForgetPrekeys(now.Add(-keepSpent)), tx.ForgetCommands(now.Add(-queueAge)), tx.ForgetLogins(now.Add(-loginAge), maxLogins))
			})
		}
	}
}

// keepSpent is how long a spent key is remembered: a device honours one for half an
// hour, a session lasts a working day.
const keepSpent = 7 * 24 * time.Hour

// begin reports whether work may begin, and counts it; work.Done ends it. mu is held.
func (c *Control) begin() bool {
	if c.shut {
		return false
	}
	c.work.Add(1)
	return true
}
