package control

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/machine"
	"github.com/boothwire/boothwire/internal/tally"
	"github.com/boothwire/boothwire/signaling"
)

// The codes that are told apart are those that PROTOCOL.md explains.
func TestCodesAreThoseOfTheProtocol(t *testing.T) {
	text, err := os.ReadFile("../../docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	var explained []string
	for _, title := range []string{"### A token or message is refused", "### A grant cannot be used", "### A session does not open, or ends"} {
		_, part, ok := strings.Cut(string(text), title)
		if !ok {
			t.Fatalf("no part %q", title)
		}
		part, _, _ = strings.Cut(part, "\n### ")
		for _, row := range regexp.MustCompile(`(?m)^\| (`+"`"+`[^|]*)\|`).FindAllStringSubmatch(part, -1) {
			for _, code := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[1], -1) {
				explained = append(explained, code[1])
			}
		}
	}
	relays := []string{"bad_proof", "superseded", "cloned"} // no session ends with them
	for _, code := range explained {
		if !slices.Contains(codesOfEnds, code) && !slices.Contains(relays, code) {
			t.Errorf("%s is not told apart", code)
		}
	}
	for _, code := range codesOfEnds {
		if !slices.Contains(explained, code) {
			t.Errorf("%s is not explained", code)
		}
	}
}

func count(h Histogram) (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// One wake has one outcome, at the time from the wake on, whatever comes later and
// whatever a device says.
func TestWakesHaveOneOutcome(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	opened := func(woken bool, state machine.State, code string) *session {
		s := &session{opened: begin, m: &machine.Machine{State: state, Code: code}}
		if woken {
			s.own(client.ByControl, stageWoken, begin.Add(100*time.Millisecond))
		}
		return s
	}
	f := newFigures()
	good := opened(true, machine.Connected, "")
	good.step(client.Step{Stage: signaling.Proved, By: client.ByDevice, After: 1 << 40})
	good.step(client.Step{Stage: "made_up", By: client.ByDevice, After: -5})
	good.own(client.ByControl, signaling.Ready, begin.Add(300*time.Millisecond))
	f.ready(good, begin.Add(300*time.Millisecond))
	good.m.State = machine.Closing
	f.ended(good, begin.Add(time.Hour))
	f.ended(opened(true, machine.Failed, machine.CodeNoProof), begin.Add(60*time.Second))
	f.ended(opened(true, machine.Closing, ""), begin.Add(2*time.Second))
	f.ended(opened(false, machine.Failed, "an invention"), begin.Add(2*time.Second))

	var s Stats
	f.into(&s)
	for outcome, sum := range map[string]float64{WakeReady: 0.2, WakeFailed: 59.9, WakeClosed: 1.9} {
		if h := s.Wakes[Wake{KindNode, outcome}]; count(h) != 1 || h.Sum < sum-0.001 || h.Sum > sum+0.001 {
			t.Errorf("%s: %+v", outcome, h)
		}
	}
	if h := s.Wakes[Wake{KindEndToEnd, WakeReady}]; count(h) != 0 {
		t.Errorf("end to end: %+v", h)
	}
	if got := s.FailedBy; len(got) != 2 || got[machine.CodeNoProof] != 1 || got[tally.Others] != 1 {
		t.Errorf("failed by %v", got)
	}
	if h := s.Stages[Rung{signaling.Proved, client.ByDevice}]; count(h) != 1 || h.Sum != 0.3 {
		t.Errorf("a device's proof: %+v", h)
	}
	if len(s.Stages) != len(rungs) {
		t.Errorf("%d steps are told apart, not %d", len(s.Stages), len(rungs))
	}
}

func TestStatsOfSessions(t *testing.T) {
	w := newWorld(t, nil)
	w.connected()
	st := w.c.Stats()
	if count(st.Wakes[Wake{KindNode, WakeReady}]) != 1 || count(st.Stages[Rung{stageGranted, client.ByControl}]) != 1 {
		t.Errorf("wakes: %+v", st.Wakes)
	}
	if st.States["connected"] != 1 || st.NodeState["connected"] != 1 || st.Store.Broken || count(st.Store.Commits) == 0 {
		t.Errorf("figures: %+v", st)
	}
	if want := []NodeLoad{{Name: "wg-1", Connected: true, Sessions: 1}}; !slices.Equal(st.NodeLoads, want) {
		t.Errorf("nodes: %+v", st.NodeLoads)
	}
}
