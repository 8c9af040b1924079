package report

import (
	"encoding/json"
	"io"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/meter"
)

// A Report is all that a run has found.
type Report struct {
	Made     time.Time      `json:"made"`
	Command  []string       `json:"command"`
	Machine  Machine        `json:"machine"`
	Name     string         `json:"scenario"`
	Title    string         `json:"title"`
	Devices  int            `json:"devices"`
	Nodes    int            `json:"nodes"`
	Workers  int            `json:"workers"`
	Idle     meter.Sample   `json:"idle"` // all devices online, no session so far
	Outcomes []Outcome      `json:"steps"`
	Ceiling  *Ceiling       `json:"ceiling,omitempty"`
	Costs    []Cost         `json:"costs"`
	Peaks    []Peak         `json:"peaks"`
	Samples  []meter.Sample `json:"samples"`
}

// Machine is where it ran.
type Machine struct {
	CPU    string  `json:"cpu"`
	Cores  int     `json:"cores"`
	Memory int64   `json:"memory"` // bytes
	OS     string  `json:"os"`
	Go     string  `json:"go"`
	Load   float64 `json:"load"` // of one minute, before the run
}

// An Outcome is what came of one step.
type Outcome struct {
	Do    string        `json:"do"`
	What  string        `json:"what"`  // in words
	Began time.Duration `json:"began"` // by the meter's clock
	Ended time.Duration `json:"ended"`

	Asked  int            `json:"asked,omitempty"` // sessions that were to be opened, moved or closed
	Ready  int            `json:"ready,omitempty"` // of those, so many came to it
	Failed map[string]int `json:"failed,omitempty"`
	Rate   float64        `json:"rate,omitempty"`  // wakes a second that were asked for; 0: at once
	Climb  bool           `json:"climb,omitempty"` // it was one of rising rates

	Wake     *Times         `json:"wake,omitempty"`     // from a device's own wake until control called its session connected
	Admitted *Times         `json:"admitted,omitempty"` // the same, from when control sent the wake
	Moved    *Times         `json:"moved,omitempty"`    // from the end of a node until another one carries its sessions
	All      Seconds        `json:"all,omitempty"`      // from the step's beginning until the last was ready
	Stages   []Stage        `json:"stages,omitempty"`
	Use      map[string]Use `json:"use"`
	Busy     float64        `json:"busy"` // cores, of the whole machine, whoever used them
	Device   *Device        `json:"device,omitempty"`
	Carried  *Carried       `json:"carried,omitempty"`
	Verdicts []Verdict      `json:"verdicts,omitempty"`
}

// A Stage is when one stage of the ladder was reached, since control was asked or,
// for a device's own, since it received the command.
type Stage struct {
	By    string `json:"by"`
	Stage string `json:"stage"`
	Times Times  `json:"times"`
}

// Use is what a part used during a step.
type Use struct {
	Mean float64 `json:"mean"` // cores
	Most float64 `json:"most"` // cores, in one second
	CPU  Seconds `json:"cpu"`
	RSS  int64   `json:"rss"` // bytes, at the end
}

// Device is what devices saw during a step.
type Device struct {
	Opened   int `json:"opened"`
	Lost     int `json:"lost"`
	Failed   int `json:"failed"`
	Degraded int `json:"degraded"`
	Dropped  int `json:"dropped"` // connections to the broker
	Refused  int `json:"refused"`
}

// Carried is what uploads brought.
type Carried struct {
	Sessions int     `json:"sessions"`
	Wanted   float64 `json:"wanted_bps"` // of each; 0: all that goes
	Total    float64 `json:"total_bps"`
	Least    float64 `json:"least_bps"` // of one session
	Median   float64 `json:"median_bps"`
	Most     float64 `json:"most_bps"`
	Packets  float64 `json:"packets_per_s"` // that nodes forwarded
}

// A Verdict is one thing that must hold.
type Verdict struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	Unit  string  `json:"unit"`
	Holds bool    `json:"holds"`
}

// Holds reports whether all verdicts of all steps do.
func (r *Report) Holds() bool {
	for _, o := range r.Outcomes {
		if !o.Holds() {
			return false
		}
	}
	return true
}

// Holds reports whether all verdicts of a step do.
func (o *Outcome) Holds() bool {
	for _, v := range o.Verdicts {
		if !v.Holds {
			return false
		}
	}
	return true
}

// WriteJSON writes all of it.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}
