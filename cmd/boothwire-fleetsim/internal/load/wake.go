package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/report"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/scenario"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// A waking is one device on its way from its wake to ready.
type waking struct {
	device string
	due    time.Time // when an engineer wanted it
	id     string    // of its session
	code   string    // why it failed; "": it did not
	ready  time.Time // by control's clock, which is this machine's
	ladder []client.Step
	opened time.Time
}

// wake opens sessions of devices that have none, at moments of their own.
func (r *Run) wake(ctx context.Context, s scenario.Step) (report.Outcome, error) {
	devices := r.take(s.Devices)
	within := time.Duration(s.Within)
	what := fmt.Sprintf("wake %d devices at once", len(devices))
	o := report.Outcome{Asked: len(devices)}
	if within > 0 {
		what = fmt.Sprintf("wake %d devices within %v", len(devices), within)
		o.Rate = float64(len(devices)) / within.Seconds()
	}
	o.What = what
	r.show.Step(what)
	began := time.Now()
	all := make([]*waking, len(devices))
	for i, id := range devices {
		all[i] = &waking{device: id, due: began}
		if within > 0 {
			all[i].due = began.Add(rand.N(within))
		}
	}
	if err := r.wakeAll(ctx, all, time.Duration(s.Patience)); err != nil {
		return o, err
	}
	sumUp(&o, all, began)
	o.Judge(time.Duration(r.script.Bars.P99), time.Duration(r.script.Bars.All))
	return o, nil
}

// wakeAll wakes each when it is due, and returns when each is ready or has failed.
func (r *Run) wakeAll(ctx context.Context, all []*waking, patience time.Duration) error {
	var asked, ready, failed atomic.Int64
	defer r.show.Now(func() string {
		f := r.crew.Figures()
		return fmt.Sprintf("%d of %d asked, %d ready, %d failed; devices see %d open", asked.Load(), len(all), ready.Load(), failed.Load(), f.Open)
	})()
	var work sync.WaitGroup
	for _, w := range all {
		work.Go(func() {
			if sleep(ctx, time.Until(w.due)) != nil {
				return
			}
			asked.Add(1)
			r.follow(ctx, w, patience)
			if w.code != "" {
				failed.Add(1)
				return
			}
			ready.Add(1)
		})
	}
	work.Wait()
	return context.Cause(ctx)
}

// A session is looked at when it is likely to be ready, and then ever less often: when
// it was is in its ladder.
const (
	firstLook = 800 * time.Millisecond
	lastLook  = 5 * time.Second
)

// follow opens a session and looks at it until it is ready or has failed.
func (r *Run) follow(ctx context.Context, w *waking, patience time.Duration) {
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := r.openSession(limit, w.device)
	if err != nil {
		w.code = codeOf(err)
		r.forget(w.device)
		return
	}
	w.id, w.opened = v.ID, v.Opened
	r.note(w.device, v.ID)
	for pause := firstLook; ; pause = min(pause*3/2, lastLook) {
		if at, ok := readyAt(v); ok {
			w.ready, w.ladder = at, v.Ladder
			return
		}
		if v.State.Final() {
			w.code = v.Code
			r.forget(w.device)
			return
		}
		if w := v.Waiting; w != nil {
			pause = max(pause, w.For.Duration()+firstLook)
		}
		if sleep(limit, pause) != nil {
			w.code = "not_ready: " + v.Stage
			return
		}
		if v, err = r.session(limit, v); err != nil {
			w.code = codeOf(err)
			return
		}
	}
}

func (r *Run) openSession(ctx context.Context, device string) (client.Session, error) {
	if err := r.slot(ctx); err != nil {
		return client.Session{}, err
	}
	defer func() { <-r.slots }()
	return r.deployed.API.OpenSession(ctx, device, &client.OpenRequest{Key: keys.NewPrivateKey().Public(), Reason: "fleetsim"})
}

// session is the present state of a session.
func (r *Run) session(ctx context.Context, v client.Session) (client.Session, error) {
	if err := r.slot(ctx); err != nil {
		return v, err
	}
	defer func() { <-r.slots }()
	return r.deployed.API.Session(ctx, v.ID)
}

func (r *Run) slot(ctx context.Context) error {
	select {
	case r.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// readyAt is when control called a session connected.
func readyAt(v client.Session) (time.Time, bool) { return stepAt(v, client.ByControl, signaling.Ready) }

// stepAt is when a step of control's or a node's was reached.
func stepAt(v client.Session, by string, stage signaling.Stage) (time.Time, bool) {
	for _, s := range v.Ladder {
		if s.By == by && s.Stage == stage && s.Code == "" {
			return v.Opened.Add(s.After.Duration()), true
		}
	}
	return time.Time{}, false
}

func codeOf(err error) string {
	if code := client.CodeOf(err); code != "" {
		return code
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no_answer"
	}
	return err.Error()
}

// take returns n devices without a session, or all of them, those first that were
// used the longest ago.
func (r *Run) take(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n == 0 {
		n = len(r.ids)
	}
	var taken, rest []string
	for _, id := range r.ids {
		if r.open[id] == "" && len(taken) < n {
			taken = append(taken, id)
		} else {
			rest = append(rest, id)
		}
	}
	r.ids = append(rest, taken...)
	return taken
}

// note keeps which session a device has.
func (r *Run) note(device, session string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[device] = session
}

func (r *Run) forget(device string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, device)
}

// sumUp puts what became of all into an outcome.
func sumUp(o *report.Outcome, all []*waking, began time.Time) {
	var own, admitted []time.Duration
	stages := make(map[[2]string][]time.Duration)
	o.Failed = make(map[string]int)
	for _, w := range all {
		if w.code != "" {
			o.Failed[w.code]++
			continue
		}
		o.Ready++
		own = append(own, w.ready.Sub(w.due))
		o.All = max(o.All, report.In(w.ready.Sub(began)))
		for _, s := range w.ladder {
			key := [2]string{s.By, string(s.Stage)}
			stages[key] = append(stages[key], s.After.Duration())
		}
		if sent, ok := stepAt(client.Session{Opened: w.opened, Ladder: w.ladder}, client.ByControl, "woken"); ok {
			admitted = append(admitted, w.ready.Sub(sent))
		}
	}
	wake, after := report.Sum(own), report.Sum(admitted)
	o.Wake, o.Admitted = &wake, &after
	for key, times := range stages {
		t := report.Sum(times)
		t.Curve = nil
		o.Stages = append(o.Stages, report.Stage{By: key[0], Stage: key[1], Times: t})
	}
	slices.SortFunc(o.Stages, report.ByTime)
}
