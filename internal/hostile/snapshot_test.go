package hostile

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"go.uber.org/zap/zaptest/observer"
)

// snapshot is all that a refusal must leave as it was, as text.
func (w *world) snapshot() string {
	w.t.Helper()
	type agentView struct {
		State, Session, Ladder, Tunnel any
		Sessions, Failed               uint64
		Roots                          int
		Boot                           string
		Accepted                       int32
	}
	var all struct {
		Agents   map[string]agentView
		Node     any
		Peers    int
		Admitted uint64
		Nodes    any
		Devices  []client.Device
		Sessions []client.Session
	}
	all.Agents = make(map[string]agentView)
	for id, k := range w.kiosks {
		st := k.agent.Status()
		n := k.agent.Stats()
		all.Agents[id] = agentView{st.State, st.Session, st.Ladder, st.Tunnel.State, n.Sessions, n.Failed, k.device.RootsN(), k.device.Boot(), k.accepted.Load()}
	}
	type held struct {
		ID, Device string
		Rev        int
		Addresses  any
		Operators  int
		End        time.Time
	}
	sessions := []held{}
	for _, s := range w.node.Sessions() {
		sessions = append(sessions, held{s.ID, s.Device, s.Rev, s.Addresses, s.Operators, s.End})
	}
	stats := w.node.Stats()
	all.Node, all.Peers, all.Admitted = sessions, stats.Peers, stats.Admitted
	for d, err := range w.admin.Devices(w.t.Context(), client.Filter{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		d.LastSeen, d.Next = time.Time{}, time.Time{}
		d.Trouble = nil // that somebody tries may be seen
		all.Devices = append(all.Devices, d)
	}
	for s, err := range w.admin.Sessions(w.t.Context(), client.Filter{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		s.Rx, s.Tx, s.RTT = 0, 0, 0
		all.Sessions = append(all.Sessions, s)
	}
	slices.SortFunc(all.Devices, func(a, b client.Device) int { return len(a.ID) - len(b.ID) })
	return string(must(json.MarshalIndent(all, "", " ")))
}

// refusals are the audit rows that tell of one.
func (w *world) refusals() (rows []client.Audit) {
	w.t.Helper()
	for a, err := range w.admin.Audit(w.t.Context(), client.Filter{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		switch a.What {
		case "command_refused", "status_refused", "node_refused":
			rows = append(rows, a)
		}
	}
	return rows
}

// lines counts log lines with a message and a code, and those with the message.
func lines(logs *observer.ObservedLogs, message, code string) (with, all int) {
	for _, e := range logs.FilterMessage(message).All() {
		all++
		if e.ContextMap()["code"] == code {
			with++
		}
	}
	return with, all
}

// settle waits until nothing changes any more.
func settle(w *world) string {
	last := w.snapshot()
	for same := 0; same < 3; {
		time.Sleep(40 * time.Millisecond)
		now := w.snapshot()
		if now == last {
			same++
		} else {
			last, same = now, 0
		}
	}
	return last
}

func unchanged(t *testing.T, before, after string) {
	t.Helper()
	if before == after {
		return
	}
	old, now := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, l := range old {
		if !slices.Contains(now, l) {
			t.Errorf("was %s", l)
		}
	}
	for _, l := range now {
		if !slices.Contains(old, l) {
			t.Errorf("now %s", l)
		}
	}
	if len(old) != len(now) {
		t.Errorf("changed\n--- before\n%s\n--- after\n%s", before, after)
	}
}
