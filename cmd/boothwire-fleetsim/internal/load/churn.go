package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/report"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/scenario"
)

// churn opens sessions at a steady rate and closes each after a while, as a day's work
// in a hurry.
func (r *Run) churn(ctx context.Context, s scenario.Step) (report.Outcome, error) {
	o := report.Outcome{Rate: s.PerSecond}
	o.What = fmt.Sprintf("open %.4g sessions a second for %v, close each after %v", s.PerSecond, time.Duration(s.For), time.Duration(s.Stay))
	r.show.Step(o.What)
	began := time.Now()
	var all []*waking
	var ready, failed, closed atomic.Int64
	stop := r.show.Now(func() string {
		return fmt.Sprintf("%d ready, %d failed, %d closed; devices see %d open", ready.Load(), failed.Load(), closed.Load(), r.crew.Figures().Open)
	})
	defer stop()
	var work sync.WaitGroup
	every := time.Duration(float64(time.Second) / s.PerSecond)
	for due := began; time.Since(began) < time.Duration(s.For); due = due.Add(every) {
		if err := sleep(ctx, time.Until(due)); err != nil {
			break
		}
		taken := r.take(1)
		if len(taken) == 0 {
			continue // all devices have a session
		}
		w := &waking{device: taken[0], due: due}
		all = append(all, w)
		work.Go(func() {
			r.follow(ctx, w, time.Duration(s.Patience))
			if w.code != "" {
				failed.Add(1)
				return
			}
			ready.Add(1)
			if sleep(ctx, time.Duration(s.Stay)) != nil {
				return
			}
			if err := r.closeSession(ctx, w.device, w.id); err != nil {
				w.code = "close: " + codeOf(err)
				return
			}
			closed.Add(1)
		})
	}
	work.Wait()
	if err := context.Cause(ctx); err != nil {
		return o, err
	}
	o.Asked = len(all)
	sumUp(&o, all, began)
	o.Judge(time.Duration(r.script.Bars.P99), 0)
	return o, nil
}
