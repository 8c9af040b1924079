package control

import (
	"slices"
	"sync"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/machine"
	"github.com/boothwire/boothwire/internal/tally"
	"github.com/boothwire/boothwire/signaling"
)

// Wake is a kind of session and what came of waking its device.
type Wake struct{ Kind, Outcome string }

// The outcomes of a wake.
const (
	WakeReady  = "ready"  // proved, by device and node
	WakeFailed = "failed" // for a fault
	WakeClosed = "closed" // as asked, or at its end, before it was ready
)

// Rung is a step of the ladder and who reports it: control, node or device. A device's
// own count from when it received the command, the others from when control was asked.
type Rung struct {
	Stage signaling.Stage
	By    string
}

// wakeBounds are seconds: a wake over a good line, one with an ask, a poll, a repeat,
// and the most that control waits.
var wakeBounds = []float64{0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 60}

// stageBounds are seconds; the first steps take microseconds.
var stageBounds = []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 10}

// figures counts by words what Stats tells. Every word is one of ours: devices and
// nodes may say others, which are counted together.
type figures struct {
	mu      sync.Mutex // the last of the locks
	wakes   map[Wake]*Histogram
	stages  map[Rung]*Histogram
	failed  *tally.Words
	refused *tally.Words
}

func newFigures() *figures {
	f := &figures{
		wakes: make(map[Wake]*Histogram), stages: make(map[Rung]*Histogram),
		failed: tally.NewWords(codesOfEnds...), refused: tally.NewWords(codesOfTokens...),
	}
	for _, kind := range []string{KindNode, KindEndToEnd} {
		for _, outcome := range []string{WakeReady, WakeFailed, WakeClosed} {
			h := tally.New(wakeBounds)
			f.wakes[Wake{kind, outcome}] = &h
		}
	}
	for _, r := range rungs {
		h := tally.New(stageBounds)
		f.stages[r] = &h
	}
	return f
}

// rungs are the steps that are counted.
var rungs = []Rung{
	{stageAsked, client.ByControl}, {stageGranted, client.ByControl}, {stageWoken, client.ByControl}, {signaling.Ready, client.ByControl},
	{stageInstalled, client.ByNode}, {signaling.Handshake, client.ByNode}, {signaling.Proved, client.ByNode},
	{signaling.Authorised, client.ByDevice}, {signaling.Keyed, client.ByDevice}, {signaling.Socket, client.ByDevice}, {signaling.Candidates, client.ByDevice},
	{signaling.Handshake, client.ByDevice}, {signaling.Proved, client.ByDevice}, {signaling.Ready, client.ByDevice},
}

// into gives a snapshot its part.
func (f *figures) into(s *Stats) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.FailedBy, s.RefusedBy = f.failed.Clone(), f.refused.Clone()
	s.Wakes, s.Stages = make(map[Wake]Histogram, len(f.wakes)), make(map[Rung]Histogram, len(f.stages))
	for k, h := range f.wakes {
		s.Wakes[k] = h.Clone()
	}
	for k, h := range f.stages {
		s.Stages[k] = h.Clone()
	}
}

// refuse counts a message that was not believed.
func (f *figures) refuse(code string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused.Add(code)
}

// ready counts a session that became so just now.
func (f *figures) ready(s *session, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wake(s, WakeReady, now)
	age := now.Sub(s.opened)
	for _, p := range s.ladder {
		if h := f.stages[Rung{p.Stage, p.By}]; h != nil && p.Code == "" {
			h.Observe(min(max(p.After.Duration(), 0), age).Seconds()) // a device may say anything
		}
	}
}

// ended counts a session that is over for its operators.
func (f *figures) ended(s *session, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	outcome := WakeClosed
	if s.m.State == machine.Failed {
		outcome = WakeFailed
		f.failed.Add(s.m.Code)
	}
	if !s.climbed(signaling.Ready, client.ByControl) {
		f.wake(s, outcome, now)
	}
}

// wake counts what came of the first wake, if there was one.
func (f *figures) wake(s *session, outcome string, now time.Time) {
	i := slices.IndexFunc(s.ladder, func(p client.Step) bool { return p.Stage == stageWoken && p.By == client.ByControl })
	if i < 0 {
		return
	}
	kind := KindNode
	if s.endToEnd {
		kind = KindEndToEnd
	}
	f.wakes[Wake{kind, outcome}].Observe(max(now.Sub(s.opened)-s.ladder[i].After.Duration(), 0).Seconds())
}
