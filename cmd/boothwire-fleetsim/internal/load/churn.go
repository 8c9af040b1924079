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

// noDevice is why a session was not opened though its time had come: all devices had one.
// What the script wants is then not what was measured.
const noDevice = "no_free_device"

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
	for due := began; due.Sub(began) < time.Duration(s.For); due = due.Add(every) { // none is left out, however late
		if err := sleep(ctx, time.Until(due)); err != nil {
			break
		}
		w := &waking{due: due}
		all = append(all, w)
		taken := r.take(1)
		if len(taken) == 0 {
			w.code = noDevice
			failed.Add(1)
			continue
		}
		w.device = taken[0]
		r.note(w.device, "opening") // or it would be free until control has answered
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
