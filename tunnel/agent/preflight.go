package agent

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel/preflight"
)

// When the host is checked: at the start, every half hour or so, some seconds after a line
// came up on other addresses than before, and a minute or two after a session, in which
// somebody may have repaired something. Never while one is open, for what a check costs is
// the customer's and the engineer's.
const (
	checkEvery = 30 * time.Minute
	checkSoon  = 5 * time.Second
	checkAfter = time.Minute
)

// checks are what the agent knows of its host.
type checks struct {
	changed chan struct{} // of one: the document is to be published
	soon    chan struct{} // of one: the addresses may have changed
	ended   chan struct{} // of one: a session has
	watch   reference

	mu   sync.Mutex
	last []preflight.Result
}

func newChecks() *checks {
	return &checks{changed: make(chan struct{}, 1), soon: make(chan struct{}, 1), ended: make(chan struct{}, 1)}
}

// results are the latest.
func (c *checks) results() []preflight.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.last)
}

// said are the same as signalling has them.
func (c *checks) said() (all []signaling.Check) {
	for _, r := range c.results() {
		all = append(all, signaling.Check{Name: r.Check, State: string(r.State), Code: r.Code, Detail: r.Detail})
	}
	return all
}

// take keeps results, has them published if they are others than before, and reports
// whether they are.
func (c *checks) take(list []preflight.Result) bool {
	c.mu.Lock()
	same := slices.Equal(c.last, list)
	c.last = list
	c.mu.Unlock()
	if !same {
		signal(c.changed)
	}
	return !same
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// check checks the host now and then until ctx ends.
func (a *Agent) check(ctx context.Context) {
	if a.cfg.Preflight < 0 {
		return
	}
	cfg := &preflight.Config{Ports: a.device.Ports(), Services: a.cfg.Services, Mode: string(a.cfg.Mode), Pool: a.cfg.Pool, Clock: a.checks.watch.bounds}
	timer := time.NewTimer(0)
	defer timer.Stop()
	on := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.checks.soon:
			if on != "" && on != addresses() {
				timer.Reset(checkSoon + rand.N(checkSoon))
			}
			continue
		case <-a.checks.ended:
			after := min(checkAfter, a.cfg.Preflight)
			timer.Reset(after + rand.N(after))
			continue
		case <-timer.C:
		}
		if a.busy() {
			continue // until it has ended
		}
		on = addresses()
		if list := preflight.Run(ctx, cfg); ctx.Err() == nil && a.checks.take(list) {
			a.logChecks(list)
		}
		timer.Reset(a.cfg.Preflight*4/5 + rand.N(a.cfg.Preflight*2/5+1))
	}
}

// logChecks says what is not as it should be.
func (a *Agent) logChecks(list []preflight.Result) {
	say, fields := a.log.Info, []zap.Field{}
	for _, r := range list {
		switch r.State {
		case preflight.Fail:
			say = a.log.Warn
		case preflight.Warn:
		default:
			continue
		}
		fields = append(fields, zap.String(r.Check, strings.TrimSpace(r.Code+" "+r.Detail)))
	}
	if len(fields) > 0 {
		say("this host lacks something for sessions", fields...)
	}
}

// busy reports whether a session is open.
func (a *Agent) busy() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open != nil
}

// addresses is a text that differs when the host's addresses do.
func addresses() string {
	var all []string
	list, _ := net.InterfaceAddrs()
	for _, a := range list {
		all = append(all, a.String())
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// reference is what is known of the time by another clock than the host's: when control
// opened the latest session. A grant comes at once or
// later, never before, so it says for sure only what time it is not any more; that the
// clock is not ahead it says at the moment at which it comes, and for as long as the clock
// then goes with the monotonic one, which stands still while the host sleeps.
type reference struct {
	mu     sync.Mutex
	opened time.Time // by control's clock
	at     time.Time // by the host's, and by the monotonic one
}

// opening notes that a session was opened by a grant. A later revision than the first may
// come long after the session was opened.
func (r *reference) opening(g *keys.Grant) {
	if g.End.IsZero() || g.Rev != 1 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened, r.at = g.End.Add(-g.Lifetime), time.Now()
}

// bounds are those of preflight.Config.Clock.
func (r *reference) bounds() (notBefore, notAfter time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opened.IsZero() {
		return notBefore, notAfter
	}
	now := time.Now()
	went := now.Sub(r.at)                             // monotonic
	stepped := now.Round(0).Sub(r.at.Round(0)) - went // the host's clock beside it
	notBefore = r.opened.Add(went)
	if stepped < time.Minute {
		notAfter = notBefore
	}
	return notBefore, notAfter
}
