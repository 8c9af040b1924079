package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/plot"
)

//go:embed page.html
var page string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"mib":      func(bytes int64) string { return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20)) },
	"kib":      func(bytes float64) string { return fmt.Sprintf("%.1f KiB", bytes/(1<<10)) },
	"num":      func(v float64) string { return fmt.Sprintf("%.4g", v) },
	"s":        func(v Seconds) string { return fmt.Sprintf("%.3f s", float64(v)) },
	"mbit":     func(v float64) string { return fmt.Sprintf("%.2f Mbit/s", v/1e6) },
	"failures": failures,
	"join":     strings.Join,
	"inc":      func(i int) int { return i + 1 },
}).Parse(page))

// WriteHTML writes one page that needs nothing beside it.
func (r *Report) WriteHTML(w io.Writer) error {
	return pageTemplate.Execute(w, struct {
		*Report
		Charts []template.HTML
	}{r, r.charts()})
}

// charts are all that have something to show.
func (r *Report) charts() []template.HTML {
	all := []plot.Chart{r.chartReady(), r.chartClimb(), r.chartFleet(), r.chartRates(), r.chartCPU(), r.chartRSS(), r.chartPackets()}
	var svg []template.HTML
	for _, c := range all {
		if len(c.Lines) > 0 {
			svg = append(svg, c.SVG())
		}
	}
	return svg
}

// chartReady has a line for each wake that was no part of a climb: percentile by time.
func (r *Report) chartReady() plot.Chart {
	c := plot.Chart{Title: "Ready after its own wake", X: "percentile of devices", Y: "s"}
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		if o.Wake == nil || len(o.Wake.Curve) == 0 || o.Climb {
			continue
		}
		l := plot.Line{Name: fmt.Sprintf("step %d", i+1)}
		for p, v := range o.Wake.Curve {
			l.X, l.Y = append(l.X, float64(p)), append(l.Y, float64(v))
		}
		c.Lines = append(c.Lines, l)
		c.Limit = max(c.Limit, o.limit())
	}
	return c
}

// limit is that of the 99th percentile; 0: there was none.
func (o *Outcome) limit() float64 {
	for _, v := range o.Verdicts {
		if v.What == whatP99 {
			return v.Limit
		}
	}
	return 0
}

// chartClimb is the 99th percentile, and the machine's CPU, by the rate of wakes.
func (r *Report) chartClimb() plot.Chart {
	c := plot.Chart{Title: "Ready after its own wake, by the rate of wakes", X: "wakes a second", Y: "s; cores", Points: true}
	var p50, p99, busy plot.Line
	p50.Name, p99.Name, busy.Name = "p50", "p99", "cores busy"
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		if !o.Climb || o.Wake == nil {
			continue
		}
		for l, v := range map[*plot.Line]float64{&p50: float64(o.Wake.P50), &p99: float64(o.Wake.P99), &busy: o.Busy} {
			l.X, l.Y = append(l.X, o.Rate), append(l.Y, v)
		}
		c.Limit = max(c.Limit, o.limit())
	}
	if len(p99.X) > 0 {
		c.Lines = []plot.Line{p50, p99, busy}
	}
	return c
}

// marks are the beginnings of the steps.
func (r *Report) marks() (all []plot.Mark) {
	for i, o := range r.Outcomes {
		all = append(all, plot.Mark{X: o.Began.Seconds(), Text: fmt.Sprintf("%d %s", i+1, o.Do)})
	}
	return all
}

func (r *Report) chartFleet() plot.Chart {
	var online, open plot.Line
	online.Name, open.Name = "online", "open sessions"
	for _, s := range r.Samples {
		at := s.At.Seconds()
		online.X, online.Y = append(online.X, at), append(online.Y, float64(s.Fleet.Online))
		open.X, open.Y = append(open.X, at), append(open.Y, float64(s.Fleet.Open))
	}
	return plot.Chart{Title: "Devices", X: "s", Y: "devices", Lines: []plot.Line{online, open}, Marks: r.marks()}
}

func (r *Report) chartRates() plot.Chart {
	return plot.Chart{Title: "What nodes and control did", X: "s", Y: "a second", Marks: r.marks(), Lines: r.rateLines(map[string]string{
		"handshakes": "node_handshakes_total", "grants": "node_admitted_total", "statuses": "control_statuses_total",
	})}
}

func (r *Report) chartPackets() plot.Chart {
	return plot.Chart{Title: "Packets of all nodes", X: "s", Y: "a second", Marks: r.marks(), Lines: r.rateLines(map[string]string{
		"forwarded": "node_forwarded_packets_total", "echoes": "node_echoes_total", "dropped": "node_dropped_packets_total",
	})}
}

// rateLines are lines of counters, by their names.
func (r *Report) rateLines(counters map[string]string) (all []plot.Line) {
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		x, y := r.rates(counters[name])
		if len(x) > 0 {
			all = append(all, plot.Line{Name: name, X: x, Y: y})
		}
	}
	return all
}

func (r *Report) chartCPU() plot.Chart {
	c := plot.Chart{Title: "CPU", X: "s", Y: "cores", Limit: float64(r.Machine.Cores), Marks: r.marks()}
	for _, name := range r.parts() {
		l := plot.Line{Name: name}
		for _, s := range r.Samples {
			l.X, l.Y = append(l.X, s.At.Seconds()), append(l.Y, s.Parts[name].Cores)
		}
		c.Lines = append(c.Lines, l)
	}
	busy := plot.Line{Name: "whole machine"}
	for _, s := range r.Samples {
		busy.X, busy.Y = append(busy.X, s.At.Seconds()), append(busy.Y, s.Busy)
	}
	c.Lines = append(c.Lines, busy)
	return c
}

func (r *Report) chartRSS() plot.Chart {
	c := plot.Chart{Title: "Memory (resident)", X: "s", Y: "MiB", Marks: r.marks()}
	for _, name := range r.parts() {
		l := plot.Line{Name: name}
		for _, s := range r.Samples {
			l.X, l.Y = append(l.X, s.At.Seconds()), append(l.Y, float64(s.Parts[name].RSS)/(1<<20))
		}
		c.Lines = append(c.Lines, l)
	}
	return c
}

// parts are the names of all that was measured.
func (r *Report) parts() []string {
	names := make(map[string]bool)
	for _, s := range r.Samples {
		for name := range s.Parts {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// rates is how fast a counter of all parts together rose, in each second. A part that
// showed nothing for a moment leaves a gap, and one that began anew counts from 0.
func (r *Report) rates(counter string) (x, y []float64) {
	last := make(map[string]float64)
	var before time.Duration
	for i, s := range r.Samples {
		sum, seen := 0.0, false
		for name, part := range s.Parts {
			v, ok := part.Counts[counter]
			if !ok {
				continue
			}
			seen = true
			if was, known := last[name]; known && v >= was {
				sum += v - was
			}
			last[name] = v
		}
		if span := (s.At - before).Seconds(); seen && i > 0 && span > 0 {
			x, y = append(x, s.At.Seconds()), append(y, sum/span)
		}
		before = s.At
	}
	return x, y
}
