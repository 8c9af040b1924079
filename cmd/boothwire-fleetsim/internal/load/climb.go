package load

import (
	"context"
	"fmt"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/report"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/scenario"
)

// single are the parts that one core is all for.
var single = map[string]bool{"broker": true} // Mosquitto has one thread

// climb wakes at rising rates until something that must hold does not. After each rate
// all sessions are closed, so that every rate begins with the same fleet: what is left
// of them ends the climb, too.
func (r *Run) climb(ctx context.Context, s scenario.Step) ([]report.Outcome, *report.Ceiling, error) {
	var steps []report.Outcome
	enough := true
	for rate := s.From; rate <= s.To; rate += s.Step {
		n := int(rate * time.Duration(s.For).Seconds())
		if enough = n <= r.script.Devices; !enough {
			break
		}
		wake := scenario.Step{Do: scenario.Wake, Devices: n, Within: s.For, Patience: s.Patience}
		o, err := r.measure(ctx, wake, r.wake)
		if err != nil {
			return steps, nil, err
		}
		o.Rate, o.Climb = rate, true
		closed, err := r.close(ctx, s)
		if err != nil {
			return steps, nil, err
		}
		o.Closed(&closed)
		steps = append(steps, o)
		if !o.Holds() {
			break
		}
	}
	c := report.FindCeiling("wakes", "devices a second", steps, report.ThisMachine().Cores, single)
	if !enough {
		c.Limit += fmt.Sprintf("; %d devices are too few for more", r.script.Devices)
	}
	return steps, c, nil
}
