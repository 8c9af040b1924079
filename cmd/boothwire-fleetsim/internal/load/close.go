package load

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/meter"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/report"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/scenario"
)

// close closes all sessions, and returns when nothing of them is left at control, at
// the nodes and at the devices.
func (r *Run) close(ctx context.Context, s scenario.Step) (report.Outcome, error) {
	r.mu.Lock()
	open := maps.Clone(r.open)
	r.mu.Unlock()
	o := report.Outcome{Asked: len(open), What: fmt.Sprintf("close %d sessions", len(open)), Failed: make(map[string]int)}
	r.show.Step(o.What)
	began := time.Now()
	defer r.show.Now(func() string { return fmt.Sprintf("devices see %d open", r.crew.Figures().Open) })()
	var mu sync.Mutex
	var work sync.WaitGroup
	for device, id := range open {
		work.Go(func() {
			if err := r.closeSession(ctx, device, id); err != nil {
				mu.Lock()
				o.Failed[codeOf(err)]++
				mu.Unlock()
			}
		})
	}
	work.Wait()
	left, err := r.settled(ctx, time.Duration(s.Patience))
	o.Ready = o.Asked - left
	o.All = report.In(time.Since(began))
	o.Verdicts = append(o.Verdicts, report.Verdict{What: "sessions that are left somewhere", Value: float64(left), Unit: "sessions", Holds: left == 0})
	return o, err
}

func (r *Run) closeSession(ctx context.Context, device, id string) error {
	if err := r.slot(ctx); err != nil {
		return err
	}
	defer func() { <-r.slots }()
	_, err := r.deployed.API.CloseForAll(ctx, id)
	if err == nil {
		r.forget(device)
	}
	return err
}

// settled waits until no session is left anywhere, and returns how many are left where
// there are most.
func (r *Run) settled(ctx context.Context, patience time.Duration) (left int, err error) {
	for end := time.Now().Add(patience); ; {
		if left, err = r.left(ctx); err != nil || left == 0 || time.Now().After(end) {
			return left, err
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return left, err
		}
	}
}

// left counts the sessions at control, at every node and at the devices, and returns
// the highest count.
func (r *Run) left(ctx context.Context) (int, error) {
	most := r.crew.Figures().Open
	for name, address := range r.deployed.Metrics {
		if r.wasKilled(name) {
			continue
		}
		c, err := meter.Scrape(ctx, address)
		if err != nil {
			return most, err
		}
		most = max(most, int(c["control_sessions"]), int(c["node_sessions"]))
	}
	return most, nil
}
