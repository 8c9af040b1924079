package report

import (
	"fmt"
	"time"
)

// A Ceiling is the load at which the first limit broke.
type Ceiling struct {
	What  string  `json:"what"`            // what was raised
	Unit  string  `json:"unit"`            //
	Held  float64 `json:"held"`            // the highest load at which all held; 0: none did
	Broke float64 `json:"broke,omitempty"` // the load at which something broke; 0: nothing did
	Limit string  `json:"limit"`           // which, and by how much
	Cause string  `json:"cause"`           // the part that was full, as far as CPU tells
}

// full is the share of a core, or of all cores, that counts as all of it: samples of a
// second do not show more of a part that waits now and then.
const full = 0.95

// FindCeiling reads the steps of a climb, from the lowest load to the highest. cores is
// the machine's number; single names the parts that run on one core.
func FindCeiling(what, unit string, steps []Outcome, cores int, single map[string]bool) *Ceiling {
	c := &Ceiling{What: what, Unit: unit, Limit: "no limit was reached"}
	for i := range steps {
		o := &steps[i]
		why := o.broken()
		if why == "" {
			c.Held = o.Rate
			continue
		}
		c.Broke, c.Limit, c.Cause = o.Rate, why, o.cause(cores, single)
		return c
	}
	return c
}

// Closed takes over what came of closing all that a step of a climb had opened.
func (o *Outcome) Closed(c *Outcome) {
	for code, n := range c.Failed {
		o.Failed["close: "+code] += n
	}
	o.Verdicts = append(o.Verdicts, c.Verdicts...)
}

// broken is the first verdict that does not hold, in words; "": all do.
func (o *Outcome) broken() string {
	for _, v := range o.Verdicts {
		if !v.Holds {
			return fmt.Sprintf("%s: %.4g %s, limit %.4g %s", v.What, v.Value, v.Unit, v.Limit, v.Unit)
		}
	}
	return ""
}

// cause is which CPU was full during a step, and whose.
func (o *Outcome) cause(cores int, single map[string]bool) string {
	most, name := 0.0, ""
	for n, u := range o.Use {
		if single[n] && u.Most >= full {
			return fmt.Sprintf("the one core of %s: %.2f", n, u.Most)
		}
		if u.Mean > most {
			most, name = u.Mean, n
		}
	}
	switch {
	case name == "":
		return "unknown: nothing was measured"
	case o.Busy >= full*float64(cores):
		return fmt.Sprintf("all %d cores of the machine, most of it %s with %.2f", cores, name, most)
	}
	return fmt.Sprintf("no CPU was full: %.2f of %d cores were busy, most of it %s with %.2f", o.Busy, cores, name, most)
}

// whatP99 names the verdict that has a limit in plots.
const whatP99 = "99th percentile from a device's own wake"

// Judge says whether a wake held its bars; a bar of 0 is none.
func (o *Outcome) Judge(p99, all time.Duration) {
	share := 100.0
	if o.Asked > 0 {
		share = 100 * float64(o.Ready) / float64(o.Asked)
	}
	o.Verdicts = append(o.Verdicts, Verdict{What: "ready", Value: share, Limit: 100, Unit: "%", Holds: o.Ready == o.Asked})
	if p99 > 0 && o.Wake != nil {
		o.Verdicts = append(o.Verdicts, Verdict{What: whatP99, Value: float64(o.Wake.P99), Limit: p99.Seconds(), Unit: "s", Holds: o.Wake.P99 <= In(p99)})
	}
	if all > 0 {
		o.Verdicts = append(o.Verdicts, Verdict{What: "until all were", Value: float64(o.All), Limit: all.Seconds(), Unit: "s", Holds: o.All <= In(all)})
	}
}
