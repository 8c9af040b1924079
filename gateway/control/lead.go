package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
)

// Of several control processes on one PostgreSQL database one has the lead: it
// decides, and holds in memory what it decides from. The lead is a lease by the
// database's clock, in a term with a number:
//
//	           nobody has it               a beat, each 5 s
//	waiting ───────────────────► leading ◄──────────────────┐
//	   ▲                          │   │  no beat for 14 s   │
//	   │     another term began   │   ▼                     │
//	   └──────────────────────────┴─ lapsed ────────────────┘
//
// A lapsed control says nothing to anybody and answers no call, but goes on to
// listen and keeps what is to be written: if the database was only away, and no other
// term began, it goes on where it was. No transaction of a term is written after the
// next one began.
const (
	leaseFor   = 15 * time.Second
	leaseSlack = time.Second
	leaseBeat  = 5 * time.Second
	leaseWait  = 4 * time.Second
	leaseLook  = time.Second // the truth, beside hints
	leaseAgain = time.Second // after one that failed

	// After the database was away whoever had the lead comes first: it has in memory
	// what was to be written.
	leaseGrace = 8 * time.Second
)

// ErrDeposed is what Run returns when another process has taken the lead.
var ErrDeposed = errors.New("control: another process has the lead")

// lead is a control's hold on a database that several may share.
type lead struct {
	term  int64
	until time.Time // guarded by Control.mu
	lost  bool
}

// takeLead waits until nobody has the lead, and takes it.
func takeLead(ctx context.Context, db *store.Store, cfg *Config) (*lead, error) {
	hinted := make(chan struct{}, 1)
	listening, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	defer func() { stop(); <-done }()
	go func() {
		defer close(done)
		// A connection that breaks is not made anew: to look each second is enough.
		_ = db.Hints(listening, func() {
			select {
			case hinted <- struct{}{}:
			default:
			}
		})
	}()
	me := store.Lead{Control: keys.NewID(), URL: cfg.URL, Pin: cfg.URLPin}
	var other sight
	var away time.Time // when the database was last seen to be
	for {
		// To look first is not for nothing: a server that stood still does later what it
		// was asked, and a claim would be of somebody who does not wait for it any more.
		look, cancel := context.WithTimeout(ctx, leaseWait)
		latest, err := db.Lead(look)
		cancel()
		switch {
		case err != nil:
			away = time.Now()
		case !other.over(latest, time.Now()):
			err = ErrDeposed
		case time.Since(away) >= leaseGrace:
			began, term := time.Now(), int64(0)
			if term, err = db.TakeLead(ctx, me, latest, leaseFor); err == nil {
				db.Fence(term)
				cfg.Logger.Info("this process has the lead", zap.Int64("term", term))
				return &lead{term: term, until: began.Add(leaseFor - leaseSlack)}, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("control: no lead: %w", errors.Join(err, context.Cause(ctx)))
		case <-hinted:
		case <-time.After(leaseLook):
		}
	}
}

// sight is how a process that waits saw the lead last. Whether it is in force the
// database's clock says, which may be set, and after a failover is another machine's. So
// who was seen to keep it has it for as long as he believes so himself, and what nobody
// keeps for longer than a lease is over.
type sight struct {
	store.Lead
	since time.Time // when it was first seen as it is; zero: it was not
	first bool      // it was over then
}

// over looks at the lead as it is, and reports whether it may be taken.
func (s *sight) over(now store.Lead, at time.Time) bool {
	if s.since.IsZero() || s.Term != now.Term || s.Until != now.Until {
		*s = sight{now, at, now.Left <= 0}
	}
	kept := at.Sub(s.since)
	if now.Left > 0 {
		return kept >= leaseFor+leaseSlack
	}
	return s.first || kept >= leaseFor-leaseSlack
}

// during keeps the lead as long as f takes: however much there is to read, another
// process must not begin to read it, too, which would take as long. Nobody else uses l
// meanwhile. It fails with ErrDeposed when another has the lead.
func (l *lead) during(ctx context.Context, db *store.Store, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var beats sync.WaitGroup
	beats.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(leaseLook):
			}
			began := time.Now()
			beat, done := context.WithTimeout(ctx, leaseWait)
			err := db.KeepLead(beat, l.term, leaseFor)
			done()
			switch {
			case err == nil:
				l.until = began.Add(leaseFor - leaseSlack)
			case errors.Is(err, store.ErrFenced):
				cancel(ErrDeposed)
				return
			}
		}
	})
	err := f(ctx)
	if errors.Is(context.Cause(ctx), ErrDeposed) {
		err = ErrDeposed
	}
	cancel(nil)
	beats.Wait()
	return err
}

// leads reports whether this process may decide now; mu is held.
func (c *Control) leads() bool { return c.lead == nil || time.Now().Before(c.lead.until) }

func (c *Control) leading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leads()
}

// keepLead beats until the control ends or another has the lead.
func (c *Control) keepLead() {
	pause, away := leaseBeat, false
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(pause):
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(c.ctx, leaseWait)
		err := c.store.KeepLead(ctx, c.lead.term, leaseFor)
		cancel()
		switch {
		case c.ctx.Err() != nil:
			return
		case err == nil:
			pause, away = leaseBeat, false
			c.hold(began.Add(leaseFor - leaseSlack))
		case errors.Is(err, store.ErrFenced):
			c.depose()
			return
		default:
			if pause = leaseAgain; !away {
				c.log.Error("no beat", zap.Error(err))
			}
			away = true
			c.lapse()
		}
	}
}

// hold prolongs the lead. Where it had lapsed, everything goes on as after a restart.
func (c *Control) hold(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lapsed := !c.leads()
	c.lead.until = until
	if !lapsed || c.shut {
		return
	}
	c.log.Warn("the lead is back")
	c.beginTerm()
	c.since = c.cfg.Now() // the nodes had nobody to speak to
	for _, s := range c.sessions {
		s.m.Sync()
	}
	if c.lines != nil {
		c.resume()
	}
}

// lapse lets the nodes go once the lead is over: they keep what they have to report
// until someone leads.
func (c *Control) lapse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leads() {
		return
	}
	for _, n := range c.nodes {
		n.cut()
	}
	if time.Since(c.lead.until) > keepTerm {
		c.endTerm()
	}
}

// depose ends a control in whose place another decides.
func (c *Control) depose() {
	c.mu.Lock()
	c.lead.until, c.lead.lost = time.Time{}, true
	c.mu.Unlock()
	c.log.Warn("another process has the lead", zap.Int64("term", c.lead.term))
	c.lapse()
	c.stop()
}

// leaveLead lets the next process take over at once; all is written before.
func (c *Control) leaveLead() {
	if c.lead == nil || c.lead.lost {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaseWait)
	defer cancel()
	err := c.store.Flush(ctx)
	if err == nil {
		err = c.store.LeaveLead(ctx, c.lead.term)
	}
	if err != nil {
		c.log.Warn("the lead was not left", zap.Error(err))
	}
}

// gated answers for h while this process may not decide.
func (c *Control) gated(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.leading() || isHealth(r) {
			h.ServeHTTP(w, r)
			return
		}
		refuseNoLead(w, "the database is away, or another process has the lead")
	})
}

func isHealth(r *http.Request) bool { return r.URL.Path == "/healthz" || r.URL.Path == "/readyz" }

// codeNoLead is the code of what nobody can decide at the moment.
const codeNoLead = "no_lead"
