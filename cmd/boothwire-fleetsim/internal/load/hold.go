package load

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/report"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/scenario"
	"github.com/boothwire/boothwire/gateway/control/client"
)

// hold leaves all sessions alone: nothing but proofs and what keeps lines alive goes
// to and fro. None may be lost.
func (r *Run) hold(ctx context.Context, s scenario.Step) (report.Outcome, error) {
	r.mu.Lock()
	open := maps.Clone(r.open)
	r.mu.Unlock()
	o := report.Outcome{Asked: len(open), What: fmt.Sprintf("hold %d sessions for %v", len(open), time.Duration(s.For)), Failed: make(map[string]int)}
	r.show.Step(o.What)
	began, before := time.Now(), r.crew.Figures()
	stop := r.show.Now(func() string {
		f := r.crew.Figures()
		return fmt.Sprintf("devices see %d open, %d lost, %d doubts", f.Open, f.Lost-before.Lost, f.Degraded-before.Degraded)
	})
	err := sleep(ctx, time.Duration(s.For))
	stop()
	if err != nil {
		return o, err
	}
	if o.Ready, o.Failed, err = r.stillOpen(ctx, open); err != nil {
		return o, err
	}
	o.All = report.In(time.Since(began))
	lost := o.Asked - o.Ready
	o.Verdicts = append(o.Verdicts, report.Verdict{What: "sessions that were lost", Value: float64(lost), Unit: "sessions", Holds: lost == 0})
	return o, nil
}

// stillOpen asks control how many of these sessions, by device, are connected, and what
// the others are. One in doubt is not lost: devices count their doubts.
func (r *Run) stillOpen(ctx context.Context, open map[string]string) (connected int, others map[string]int, err error) {
	others = make(map[string]int)
	seen := 0
	for v, err := range r.deployed.API.Sessions(ctx, client.Filter{Open: true, Limit: 1000}) {
		switch {
		case err != nil:
			return 0, nil, err
		case open[v.Device] != v.ID:
			continue
		case v.State == client.Connected, v.State == client.Degraded:
			connected++
		default:
			others[string(v.State)]++
		}
		seen++
	}
	if gone := len(open) - seen; gone > 0 {
		others["gone"] = gone
	}
	return connected, others, nil
}
