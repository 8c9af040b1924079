package tunnel

import (
	"fmt"
	"time"

	"github.com/boothwire/boothwire/tunnel/internal/path"
)

// showEvery is how old the figures of ways may be while packets go.
const showEvery = 250 * time.Millisecond

// publishWays leaves for Status what is known of the ways.
func (t *Tunnel) publishWays(f *far, now time.Duration) {
	if !t.dirty && now < t.shown+showEvery {
		return
	}
	t.dirty, t.shown = false, now
	c := t.config()
	reports := make(map[int]path.Report)
	for _, r := range f.path.Report() {
		reports[r.ID] = r
	}
	primary, _ := f.path.Paths()
	var ways []Way
	var carrying *path.Report
	why := ""
	add := func(w Way, r path.Report) {
		w.RTT, w.Loss, w.Spent = r.RTT, r.Loss, r.Spent
		if s := stateOf(r); s != "" {
			w.State, w.Since = s, t.start.Add(r.Since)
			if r.State == path.Left {
				w.Code = r.Code
			}
		}
		if r.Primary {
			carrying = &r
		}
		ways = append(ways, w)
	}
	opened := 0
	for _, p := range c.Paths {
		if p.Addr.IsValid() {
			w := Way{Name: p.Name, Kind: p.kind(), Remote: p.Addr.String(), State: WayOff, Since: t.start}
			add(w, reports[t.idOf(p.Addr)])
			continue
		}
		if !c.Policy.allows(p.kind()) {
			ways = append(ways, Way{Name: p.Name, Kind: p.kind(), State: WayOff, Since: t.start})
			continue
		}
		if opened == len(t.ways) {
			continue // before run has begun
		}
		w := t.ways[opened]
		opened++
		state := WayOpening
		if w.failed {
			state = WayFailed
		}
		if w.sayer != nil {
			w.why = w.sayer.Why()
		}
		add(Way{Name: p.Name, Kind: p.kind(), Remote: w.remote, State: state, Code: w.code, Why: w.why, Since: w.since}, reports[w.id])
	}
	kind := t.kindOf(primary)
	if opened > 0 {
		why = whyPath(c.Policy, kind, ways)
	}
	remote := t.remoteOf(primary)
	t.mu.Lock()
	t.snapshot.path, t.snapshot.remote, t.snapshot.ways, t.snapshot.why = kind, remote, ways, why
	t.spend()
	t.snapshot.checked = carrying != nil && carrying.RTT != 0
	if t.snapshot.checked {
		t.snapshot.checkRTT, t.snapshot.checkLoss = carrying.RTT, carrying.Loss
	}
	t.mu.Unlock()
	t.pathWhy = worth(kind, why, ways)
}

// worth is what of Status.Why is worth an event: more than how long a round trip takes.
func worth(kind PathKind, why string, ways []Way) string {
	failed := false
	for _, w := range ways {
		if w.Kind != Direct {
			continue
		}
		if kind == Direct && w.State == WayCarrying {
			return w.Why
		}
		failed = failed || w.Code != ""
	}
	if kind == Direct || kind == Relay && failed {
		return why
	}
	return ""
}

// tellWhy has those who follow look at Status.Why. What is known with the path itself
// is EventPath's to tell.
func (t *Tunnel) tellWhy() {
	if t.pathWhy == "" || t.pathWhy == t.toldWhy {
		return
	}
	if primary, _ := t.far.path.Paths(); primary == t.told || t.kindOf(primary) == Relay {
		t.toldWhy = t.pathWhy
		t.tell(Event{Kind: EventWhy})
	}
}

// stateOf is a Way's state while it has a route, else empty.
func stateOf(r path.Report) string {
	switch r.State {
	case path.Trying:
		return WayTrying
	case path.Doubted:
		return WayDoubted
	case path.Left:
		return WayLeft
	case path.Good:
		if r.Primary {
			return WayCarrying
		}
		return WayReady
	}
	return ""
}

// whyPath says in a few words why packets go by a path of this kind: what there is
// to say of it, or what became of the direct ways.
func whyPath(policy Policy, kind PathKind, ways []Way) string {
	switch {
	case kind == "":
		return ""
	case kind == Direct:
		for _, w := range ways {
			if w.Kind == Direct && w.State == WayCarrying {
				return "direct" + detail(w.Why, w.RTT)
			}
		}
		return "direct"
	case policy == RelayOnly:
		return "relay: by policy"
	}
	for _, w := range ways {
		if w.Kind == Direct && w.State != WayOff {
			state := w.State
			if state == WayOpening && w.Code != "" {
				state = WayFailed // the attempt before; the next one is under way
			}
			s := "relay: direct " + state
			if w.Code != "" {
				s += " " + w.Code
				if w.Why != "" {
					s += " (" + w.Why + ")"
				}
			}
			return s
		}
	}
	return "relay"
}

// detail is what follows a path's kind.
func detail(why string, rtt time.Duration) string {
	if why != "" {
		why = " " + why
	}
	switch {
	case rtt >= 10*time.Millisecond:
		why += fmt.Sprintf(" %d ms", rtt.Milliseconds())
	case rtt > 0:
		why += fmt.Sprintf(" %.1f ms", rtt.Seconds()*1000)
	}
	if why == "" {
		return ""
	}
	return ":" + why
}
