package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/meter"
)

// A Cost is what one more of something takes of a part's memory.
type Cost struct {
	Part  string  `json:"part"`
	What  string  `json:"what"`
	Bytes float64 `json:"bytes"` // resident, each
	N     int     `json:"n"`     // of which it was measured
}

// costs compares the moment with the most open sessions with the fleet online and idle.
func (r *Report) costs() (all []Cost) {
	most := r.fullest()
	if most.Fleet.Open == 0 {
		return nil
	}
	add := func(part, what string, n int) {
		if n > 0 {
			all = append(all, Cost{part, what, float64(most.Parts[part].RSS-r.Idle.Parts[part].RSS) / float64(n), n})
		}
	}
	for _, name := range r.parts() {
		if strings.HasPrefix(name, "node-") {
			add(name, "WireGuard peer", int(most.Parts[name].Counts["node_peers"]))
		}
	}
	add("control", "session", most.Fleet.Open)
	add("devices", "session", most.Fleet.Open)
	if idle := r.Idle.Fleet.Online; idle > 0 {
		all = append(all,
			Cost{"devices", "device that is online", float64(r.Idle.Parts["devices"].RSS) / float64(idle), idle},
			Cost{"broker", "device that is online", float64(r.Idle.Parts["broker"].RSS) / float64(idle), idle})
	}
	return all
}

// fullest is the last of the samples with the most open sessions, and of those with the
// most peers: what devices say is a second old when sessions are closed already.
func (r *Report) fullest() (most meter.Sample) {
	peers := func(s meter.Sample) (n float64) {
		for _, p := range s.Parts {
			n += p.Counts["node_peers"]
		}
		return n
	}
	for _, s := range r.Samples {
		if s.Fleet.Open > most.Fleet.Open || s.Fleet.Open == most.Fleet.Open && peers(s) >= peers(most) {
			most = s
		}
	}
	return most
}

// A Peak is the highest rate that something reached, beside what is known to limit it.
type Peak struct {
	What  string  `json:"what"`
	Rate  float64 `json:"rate"`            // a second, the mean of the busiest ten seconds
	Limit float64 `json:"limit,omitempty"` // a second; 0: none is known
	Why   string  `json:"why,omitempty"`   // of the limit
}

// underLoad is how many new handshakes a second one node takes without going under
// load, measured: above it WireGuard asks for cookies, and who is asked waits for 5 s.
const underLoad = 300

// peaks are the rates that were reached.
func (r *Report) peaks() (all []Peak) {
	for _, p := range []struct {
		what, counter string
		limit         float64
		why           string
	}{
		{"grants put into force", "node_admitted_total", 0, ""},
		{"handshakes", "node_handshakes_total", underLoad * float64(max(r.Nodes, 1)), "above it nodes go under load, and who comes then waits for 5 s"},
		{"statuses of devices", "control_statuses_total", 0, ""},
		{"commands to devices", "control_commands_total", 0, ""},
		{"echoes that nodes answered", "node_echoes_total", 0, ""},
		{"packets that nodes forwarded", "node_forwarded_packets_total", 0, ""},
	} {
		if _, y := r.rates(p.counter); len(y) > 0 {
			all = append(all, Peak{p.what, busiest(y, 10), p.limit, p.why})
		}
	}
	return all
}

// busiest is the highest mean of n values in a row, or of all where there are fewer.
func busiest(values []float64, n int) float64 {
	n = min(n, len(values))
	most := 0.0
	for i := range len(values) - n + 1 {
		sum := 0.0
		for _, v := range values[i : i+n] {
			sum += v
		}
		most = max(most, sum/float64(n))
	}
	return most
}

// SortedUse is the parts of a step, the busiest first.
func (o *Outcome) SortedUse() []NamedUse {
	var all []NamedUse
	for name, u := range o.Use {
		all = append(all, NamedUse{name, u})
	}
	slices.SortFunc(all, func(a, b NamedUse) int {
		return cmp.Or(cmp.Compare(b.Mean, a.Mean), strings.Compare(a.Name, b.Name))
	})
	return all
}

// Times are those of what a step was about; nil: nothing was timed.
func (o *Outcome) Times() *Times {
	if o.Moved != nil {
		return o.Moved
	}
	return o.Wake
}

// A NamedUse is what a part used, with its name.
type NamedUse struct {
	Name string
	Use
}
