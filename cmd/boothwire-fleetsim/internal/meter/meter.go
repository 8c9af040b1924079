package meter

import (
	"context"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/worker"
)

// A Part is what is measured as one: a process, or several that do the same.
type Part struct {
	Name    string
	PIDs    func() []int
	Metrics string // address of its figures; "": it shows none
}

// A Reading is what one part was at one moment. What it used is a rate since the
// reading before.
type Reading struct {
	Cores  float64 `json:"cores"` // 1 is one core busy all the time
	RSS    int64   `json:"rss"`   // bytes
	Counts Counts  `json:"counts,omitempty"`
}

// A Sample is all parts at one moment.
type Sample struct {
	At    time.Duration      `json:"at"`    // since the meter began
	Busy  float64            `json:"busy"`  // cores that anybody used, the whole machine
	Parts map[string]Reading `json:"parts"` // by name
	Fleet worker.Figures     `json:"fleet"`
}

// self is the name of this process among the parts.
const self = "fleetsim"

// A Meter takes a sample each second until its context ends.
type Meter struct {
	parts []Part
	fleet func() worker.Figures
	began time.Time

	mu      sync.Mutex
	samples []Sample

	before map[int]time.Duration // CPU by process
	busy   time.Duration
	at     time.Time
}

// New makes a meter, which counts from now.
func New(fleet func() worker.Figures, parts ...Part) *Meter {
	m := &Meter{fleet: fleet, began: time.Now(), before: make(map[int]time.Duration)}
	m.parts = append([]Part{{Name: self, PIDs: func() []int { return []int{os.Getpid()} }}}, parts...)
	return m
}

// Began is when the meter's time began.
func (m *Meter) Began() time.Time { return m.began }

// Run takes samples until ctx ends.
func (m *Meter) Run(ctx context.Context) {
	m.Take(ctx)
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			m.Take(ctx)
		}
	}
}

// Samples are all so far.
func (m *Meter) Samples() []Sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.samples[:len(m.samples):len(m.samples)]
}

// Take takes a sample now.
func (m *Meter) Take(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	span := now.Sub(m.at)
	first := m.at.IsZero()
	m.at = now
	s := Sample{At: now.Sub(m.began), Parts: make(map[string]Reading), Fleet: m.fleet()}
	for _, p := range m.parts {
		s.Parts[p.Name] = m.read(ctx, p, span, first)
	}
	if busy, err := readBusy(); err == nil {
		if !first {
			s.Busy = min(float64(busy-m.busy)/float64(span), float64(runtime.NumCPU()))
		}
		m.busy = busy
	}
	m.samples = append(m.samples, s)
}

func (m *Meter) read(ctx context.Context, p Part, span time.Duration, first bool) (r Reading) {
	for _, pid := range p.PIDs() {
		u, err := ReadUse(pid)
		if err != nil {
			continue // it was killed, as some scripts want
		}
		before, known := m.before[pid]
		m.before[pid] = u.CPU
		r.RSS += u.RSS
		if known && !first {
			r.Cores += float64(u.CPU-before) / float64(span)
		}
	}
	if p.Metrics != "" {
		r.Counts, _ = Scrape(ctx, p.Metrics) // one that does not answer leaves a gap
	}
	return r
}
