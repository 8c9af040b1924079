package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// WriteText writes what a person reads first.
func (r *Report) WriteText(w io.Writer) {
	fmt.Fprintf(w, "%s: %s; %d devices, %d node(s)\n", r.Name, r.Title, r.Devices, r.Nodes)
	for i := range r.Outcomes {
		r.Outcomes[i].writeText(w)
	}
	for _, c := range r.Costs {
		fmt.Fprintf(w, "memory: %s: %.1f KiB for each %s (%d)\n", c.Part, c.Bytes/1024, c.What, c.N)
	}
	for _, p := range r.Peaks {
		fmt.Fprintf(w, "peak: %s: %.4g a second%s\n", p.What, p.Rate, p.limit())
	}
	if c := r.Ceiling; c != nil {
		fmt.Fprintf(w, "ceiling: %s\n", c)
	}
}

func (o *Outcome) writeText(w io.Writer) {
	fmt.Fprintf(w, "%s: %d of %d in %.1f s%s\n", o.What, o.Ready, o.Asked, o.All, failures(o.Failed))
	if o.Wake != nil && o.Wake.N > 0 {
		fmt.Fprintf(w, "  ready after its own wake: p50 %.3f s, p90 %.3f s, p99 %.3f s, most %.3f s\n", o.Wake.P50, o.Wake.P90, o.Wake.P99, o.Wake.Most)
	}
	if o.Moved != nil && o.Moved.N > 0 {
		fmt.Fprintf(w, "  carried by another node: p50 %.3f s, p99 %.3f s\n", o.Moved.P50, o.Moved.P99)
	}
	if o.Admitted != nil && o.Admitted.N > 0 {
		fmt.Fprintf(w, "  ready after control sent its wake: p50 %.3f s, p99 %.3f s\n", o.Admitted.P50, o.Admitted.P99)
	}
	if c := o.Carried; c != nil {
		fmt.Fprintf(w, "  %d sessions, %.2f Mbit/s together, each %.2f to %.2f, %.0f packets a second\n", c.Sessions, c.Total/1e6, c.Least/1e6, c.Most/1e6, c.Packets)
	}
	var use []string
	for _, u := range o.SortedUse() {
		use = append(use, fmt.Sprintf("%s %.2f cores %d MiB", u.Name, u.Mean, u.RSS>>20))
	}
	fmt.Fprintf(w, "  %s; busy %.2f cores\n", strings.Join(use, ", "), o.Busy)
	for _, v := range o.Verdicts {
		fmt.Fprintf(w, "  %s\n", v)
	}
}

func (p Peak) limit() string {
	if p.Limit == 0 {
		return ""
	}
	return fmt.Sprintf(", limit %.4g: %s", p.Limit, p.Why)
}

// String is a verdict in words.
func (v Verdict) String() string {
	holds := "holds"
	if !v.Holds {
		holds = "does not hold"
	}
	return fmt.Sprintf("%s: %.4g %s, limit %.4g %s: %s", v.What, v.Value, v.Unit, v.Limit, v.Unit, holds)
}

// String is a ceiling in words.
func (c *Ceiling) String() string {
	if c.Broke == 0 {
		return fmt.Sprintf("%s up to %.4g %s: %s", c.What, c.Held, c.Unit, c.Limit)
	}
	return fmt.Sprintf("%s held at %.4g %s, and broke at %.4g: %s (%s)", c.What, c.Held, c.Unit, c.Broke, c.Limit, c.Cause)
}

func failures(codes map[string]int) string {
	var all []string
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		all = append(all, fmt.Sprintf("%d %s", codes[code], code))
	}
	if len(all) == 0 {
		return ""
	}
	return "; failed: " + strings.Join(all, ", ")
}
