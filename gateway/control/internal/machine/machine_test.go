package machine

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// play runs a script against a machine and returns what it wanted done and how it
// is, a line for each step. Steps are names of inputs, "+5s" lets time pass with a
// Tick at each time that is due.
type play struct {
	m   *Machine
	now time.Time
}

func newPlay() *play {
	now := time.Unix(1_800_000_000, 0)
	return &play{New(now.Add(time.Hour)), now}
}

func (p *play) step(s string) {
	m := p.m
	name, arg, _ := strings.Cut(s, " ")
	n := 0
	fmt.Sscan(arg, &n)
	switch name {
	case "alone":
		m.Alone = true
	case "renewed":
		m.Renewed(m.Ends.Add(5 * time.Minute))
	case "ask":
		m.Ask(p.now)
	case "answered":
		m.Answered()
	case "issued":
		m.Issued(p.now, m.Rev+1, m.Ends, Terms)
	case "longer":
		m.Issued(p.now, m.Rev+1, m.Ends.Add(time.Hour), Terms)
	case "shakes":
		m.Issued(p.now, m.Rev+1, m.Ends, Shake)
	case "moves":
		m.Issued(p.now, m.Rev+1, m.Ends, Move)
	case "admitted":
		m.Admitted(p.now)
	case "unplaced":
		m.Unplaced(p.now, arg, "")
	case "stays":
		m.Stays()
	case "nodebusy":
		m.NodeRefused(p.now, m.Rev, "busy")
	case "unissued":
		m.Unissued(p.now, arg, "")
	case "installed":
		m.NodeInstalled(p.now, n)
	case "noderefused":
		m.NodeRefused(p.now, m.Rev, cmp.Or(arg, "overlap"))
	case "proved":
		m.NodeProved()
	case "nodeclosed":
		m.NodeClosed(p.now, arg)
	case "authorised":
		m.DeviceSaid(p.now, Reply{Re: true, Rev: n, VPN: "connecting"})
	case "ready":
		m.DeviceSaid(p.now, Reply{Re: true, Rev: n, VPN: "connected"})
	case "degraded":
		m.DeviceSaid(p.now, Reply{Rev: n, VPN: "degraded", Code: "unproved"})
	case "failed":
		m.DeviceSaid(p.now, Reply{Re: true, Rev: m.Rev, VPN: "failed", Code: arg})
	case "oldfailed":
		m.DeviceSaid(p.now, Reply{Rev: m.Rev - 1, VPN: "failed", Code: arg})
	case "gone":
		m.DeviceSaid(p.now, Reply{Rev: m.Rev, VPN: "disconnected", Code: arg})
	case "refused":
		m.DeviceSaid(p.now, Reply{Re: true, Refusal: true, Code: arg, VPN: "disconnected"})
	case "unchanged":
		m.DeviceSaid(p.now, Reply{Re: true, Refusal: true, Code: arg, VPN: "connecting"})
	case "refusedother":
		m.DeviceSaid(p.now, Reply{Refusal: true, Code: arg, VPN: "disconnected"})
	case "busysibling":
		m.DeviceSaid(p.now, Reply{Re: true, Refusal: true, Code: "busy", VPN: "connected", Sibling: true})
	case "rebooted":
		m.Rebooted(p.now)
	case "close":
		m.Close(p.now, "", "")
	case "restored":
		m.Restored(p.now)
	default:
		d, err := time.ParseDuration(strings.TrimPrefix(s, "+"))
		if err != nil {
			panic("no such step: " + s)
		}
		for end := p.now.Add(d); ; {
			at := m.Next()
			if at.IsZero() || at.After(end) {
				p.now = end
				return
			}
			if at.After(p.now) {
				p.now = at
			} else {
				p.now = p.now.Add(time.Millisecond) // what is due again at once would spin
			}
			m.Tick(p.now)
		}
	}
}

func TestMachine(t *testing.T) {
	for _, tc := range []struct{ name, script, actions, state string }{
		{"with a prekey", "issued, installed 1, authorised 1, ready 1, proved", "install wake", "connected"},
		{"proved first", "issued, installed 1, proved, ready 1", "install wake", "connected"},
		{"ready alone is not connected", "issued, installed 1, ready 1", "install wake", "connecting"},
		{"proved alone is not connected", "issued, installed 1, proved", "install wake", "connecting"},
		{"never woken before the node has it", "issued, +4s", "install", "opening"},
		{"the node is silent", "issued, +6s", "install place", "opening"},
		{"every node is silent", "issued, +6s, unplaced node_unreachable", "install place end", "failed node_unreachable"},
		{"the next one is not", "issued, +6s, moves, installed 2, admitted, ready 2, proved", "install place install admit wake moved", "connected"},
		{"the node refuses", "issued, noderefused", "install end", "failed node_refused"},
		{"another revision's install", "issued, installed 2, +4s", "install", "opening"},
		{"without a prekey", "ask, answered, issued, installed 1, ready 1, proved", "ask issue install wake", "connected"},
		{"three asks, ten seconds", "ask, +11s", "ask ask ask", "failed no_prekey over"},
		{"the ask is refused", "ask, refused closed", "ask", "failed closed over"},
		{"a flooded ask is repeated", "ask, refused flood, +1500ms", "ask ask", "opening"},
		{"an answer to no ask", "answered", "", "opening"},
		{"no grant could be made", "ask, answered, unissued no_address", "ask issue", "failed no_address over"},
		{"the command again each 5 s", "issued, installed 1, +16s", "install wake wake wake wake", "connecting"},
		{"the device is silent", "issued, installed 1, +61s", "install wake wake wake wake wake wake wake wake wake wake wake wake down end", "failed device_silent"},
		{"its reply ends the repeats", "issued, installed 1, authorised 1, +30s", "install wake", "connecting"},
		{"no proof", "issued, installed 1, authorised 1, +61s", "install wake down end", "failed no_proof"},
		{"ready without the node's proof", "issued, installed 1, ready 1, +61s", "install wake down end", "failed no_proof"},
		{"a stale prekey, once", "issued, installed 1, refused unknown_prekey, answered, issued, installed 2, ready 2, proved", "install wake ask issue install wake", "connected"},
		{"a stale prekey, said again", "issued, installed 1, refused unknown_prekey, refused unknown_prekey, answered, refused unknown_prekey, shakes, refusedother unknown_prekey, installed 2, admitted, ready 2, proved", "install wake ask issue install admit wake", "connected"},
		{"a stale prekey, failed by the handler, said again", "issued, installed 1, failed wrong_boot, failed wrong_boot, answered, failed wrong_boot, shakes, installed 2, admitted, oldfailed wrong_boot, ready 2, proved", "install wake ask issue install admit wake", "connected"},
		{"a stale prekey, and somebody joins", "issued, installed 1, refused unknown_prekey, issued, installed 2, refused unknown_prekey, answered, shakes, installed 3, admitted, ready 3, proved", "install wake ask install wake issue install admit wake", "connected"},
		{"a stale prekey, and no other can be had", "issued, installed 1, refused unknown_prekey, answered, unissued no_database", "install wake ask issue down end", "failed no_database"},
		{"a stale prekey, failed by the handler", "issued, installed 1, failed wrong_boot, answered, issued, installed 2, oldfailed wrong_boot, ready 2, proved", "install wake ask issue install wake", "connected"},
		{"a stale prekey of a grant whose signature held", "issued, installed 1, authorised 1, refused unknown_prekey, answered, issued, installed 2, ready 2, proved", "install wake ask issue install wake", "connected"},
		{"the same, failed by the handler", "issued, installed 1, authorised 1, failed used_prekey, +11s", "install wake ask ask ask down end", "failed no_prekey"},
		{"a stale prekey, twice", "issued, installed 1, refused unknown_prekey, answered, shakes, installed 2, admitted, refused unknown_prekey", "install wake ask issue install admit wake down end", "failed unknown_prekey"},
		{"refused", "issued, installed 1, refused port_not_allowed", "install wake down end", "failed port_not_allowed"},
		{"a stale prekey, twice, of a grant whose signature held", "issued, installed 1, refused unknown_prekey, answered, shakes, installed 2, admitted, authorised 2, refused unknown_prekey", "install wake ask issue install admit wake down end", "failed unknown_prekey"},
		{"refused after the signature held", "issued, installed 1, authorised 1, refused node_not_allowed", "install wake down end", "failed node_not_allowed"},
		{"a change of what is opening is refused", "issued, installed 1, authorised 1, issued, installed 2, unchanged replayed", "install wake install wake", "connecting"},
		{"another command's refusal", "issued, installed 1, refusedother port_not_allowed", "install wake", "connecting"},
		{"busy", "issued, installed 1, refused busy", "install wake down end", "failed busy"},
		{"busy while an earlier one closes", "issued, installed 1, busysibling, +1500ms, ready 1, proved", "install wake wake", "connected"},
		{"failed on the device", "issued, installed 1, authorised 1, failed driver", "install wake end", "failed driver"},
		{"degraded and back", "issued, installed 1, ready 1, proved, degraded 1", "install wake", "degraded"},
		{"and back", "issued, installed 1, ready 1, proved, degraded 1, ready 1", "install wake", "connected"},
		{"a later revision: the node first", "issued, installed 1, ready 1, proved, issued, +4s", "install wake install", "connected"},
		{"then the device", "issued, installed 1, ready 1, proved, issued, installed 2, ready 2, +30s", "install wake install wake", "connected"},
		{"a later one that nobody answers", "issued, installed 1, ready 1, proved, issued, installed 2, +70s", "install wake install " + strings.TrimSpace(strings.Repeat("wake ", 12)), "connected"},
		{"a later one that the device refuses", "issued, installed 1, ready 1, proved, issued, installed 2, refused port_not_allowed, +30s", "install wake install wake", "connected"},
		{"over at the device, which is not known", "issued, installed 1, ready 1, proved, issued, installed 2, refused closed, nodeclosed", "install wake install wake end", "closed device_closed over"},
		{"over at the node, which is not known", "issued, installed 1, ready 1, proved, issued, noderefused closed, gone", "install wake install down", "closed node_closed over"},
		{"over at the node that it is to move to", "issued, installed 1, ready 1, proved, moves, noderefused closed", "install wake install place", "connected"},
		{"closed", "issued, installed 1, ready 1, proved, close, gone, nodeclosed", "install wake down end", "closed over"},
		{"closed, node first", "issued, installed 1, ready 1, proved, close, nodeclosed, gone", "install wake down end", "closed over"},
		{"closing needs the device", "issued, installed 1, ready 1, proved, close, nodeclosed", "install wake down end", "closing"},
		{"closing needs the node", "issued, installed 1, ready 1, proved, close, gone, +30s", "install wake down end", "closing"},
		{"a ready is no closed", "issued, installed 1, ready 1, proved, close, nodeclosed, ready 1", "install wake down end", "closing"},
		{"a closed session's refusal", "issued, installed 1, ready 1, close, nodeclosed, refused closed", "install wake down end", "closed over"},
		{"another refusal says nothing", "issued, installed 1, ready 1, close, nodeclosed, refused flood", "install wake down end", "closing"},
		{"the down again", "issued, installed 1, ready 1, close, nodeclosed, +11s", "install wake down end down down", "closing"},
		{"until the end", "issued, installed 1, ready 1, proved, close, +2h", "install wake down end" + strings.Repeat(" down", 71), "closed over"},
		{"never woken", "issued, close, nodeclosed", "install end", "closed over"},
		{"nothing issued", "ask, close", "ask", "closed over"},
		{"expired", "issued, installed 1, ready 1, proved, +1h", "install wake down end", "closing expired"},
		{"and over soon after", "issued, installed 1, ready 1, proved, +61m", "install wake down end", "closed expired over"},
		{"longer", "issued, installed 1, ready 1, proved, longer, installed 2, ready 2, +90m", "install wake install wake", "connected"},
		{"closed by the device", "issued, installed 1, ready 1, proved, gone idle, nodeclosed", "install wake end", "closed idle over"},
		{"closed by the node", "issued, installed 1, ready 1, proved, nodeclosed expired, gone", "install wake down", "closed expired over"},
		{"rebooted", "issued, installed 1, ready 1, proved, rebooted, nodeclosed", "install wake end", "closed rebooted over"},
		{"rebooted while closing", "issued, installed 1, ready 1, proved, close, nodeclosed, rebooted", "install wake down end", "closed over"},
		{"nothing after the end", "issued, installed 1, close, gone, nodeclosed, ready 1, proved, issued, +2h", "install wake down end", "closed over"},
		{"alone", "alone, issued, authorised 1, ready 1", "wake", "connected"},
		{"alone, without a prekey", "alone, ask, answered, issued, ready 1", "ask issue wake", "connected"},
		{"alone, a stale prekey", "alone, issued, refused unknown_prekey, answered, issued, ready 2", "wake ask issue wake", "connected"},
		{"alone, no proof", "alone, issued, authorised 1, +61s", "wake down", "failed no_proof"},
		{"alone, the device is silent", "alone, issued, +61s", "wake" + strings.Repeat(" wake", 11) + " down", "failed device_silent"},
		{"alone, a later revision", "alone, issued, ready 1, issued, ready 2, +30s", "wake wake", "connected"},
		{"alone, closed", "alone, issued, ready 1, close, gone", "wake down", "closed over"},
		{"alone, closing needs the device", "alone, issued, ready 1, close, +1s", "wake down", "closing"},
		{"alone, closed by the device", "alone, issued, ready 1, gone idle", "wake", "closed idle over"},
		{"alone, never woken", "alone, ask, close", "ask", "closed over"},
		{"alone, renewed", "alone, issued, ready 1, +58m, renewed, +6m", "wake", "connected"},
		{"alone, not renewed", "alone, issued, ready 1, +58m, renewed, +8m", "wake down", "closed expired over"},
		{"renewed after the end", "alone, issued, ready 1, close, gone, renewed", "wake down", "closed over"},
		{"a handshake waits for its turn", "shakes, installed 1, +70s", "install admit", "connecting"},
		{"and has it", "shakes, installed 1, +70s, admitted, ready 1, proved", "install admit wake", "connected"},
		{"closed while it waits", "shakes, installed 1, close, admitted, nodeclosed", "install admit end", "closed over"},
		{"a later revision while it waits", "shakes, installed 1, issued, admitted, installed 2, admitted", "install admit install admit wake", "connecting"},
		{"a later one after it", "shakes, installed 1, admitted, ready 1, issued, installed 2", "install admit wake install wake", "connecting"},
		{"a full node", "shakes, nodebusy, shakes, installed 2", "install place install admit", "connecting"},
		{"full nodes", "shakes, nodebusy, unplaced node_refused", "install place end", "failed node_refused"},
		{"moved", "issued, installed 1, ready 1, proved, moves, installed 2, admitted, ready 2, proved", "install wake install admit wake moved", "connected"},
		{"ready is not moved", "issued, installed 1, ready 1, proved, moves, installed 2, admitted, ready 2", "install wake install admit wake", "connected"},
		{"moved before it was connected", "issued, installed 1, authorised 1, moves, +4s, installed 2, admitted, +60s, ready 2, proved", "install wake install admit" + strings.Repeat(" wake", 12) + " moved", "connected"},
		{"the new node is silent", "issued, installed 1, ready 1, proved, moves, +6s", "install wake install place", "connected"},
		{"the new node refuses", "issued, installed 1, ready 1, proved, moves, nodebusy", "install wake install place", "connected"},
		{"the device refuses the new node", "issued, installed 1, ready 1, proved, moves, installed 2, admitted, refused node_not_allowed", "install wake install admit wake place", "connected"},
		{"the device does not come", "issued, installed 1, ready 1, proved, moves, installed 2, admitted, ready 2, +61s", "install wake install admit wake place", "connected"},
		{"nor again, for longer", "issued, installed 1, ready 1, proved, moves, installed 2, admitted, ready 2, +61s, moves, installed 3, admitted, ready 3, +119s", "install wake install admit wake place install admit wake", "connected"},
		{"nobody else can take it", "issued, installed 1, ready 1, proved, moves, nodebusy, unplaced busy, +58m", "install wake install place", "connected"},
		{"the device is off", "issued, installed 1, ready 1, proved, moves, installed 2, admitted, +5m", "install wake install admit" + strings.Repeat(" wake", 16), "connected"},
		{"closed while it moves", "issued, installed 1, ready 1, proved, moves, installed 2, close, gone, nodeclosed", "install wake install admit down end", "closed over"},
		{"it stays after all", "issued, installed 1, ready 1, proved, moves, nodebusy, issued, stays, installed 3, ready 3, +10m", "install wake install place install moved admit", "connected"},
		{"a failed one is cleaned up", "issued, installed 1, refused driver, gone, nodeclosed", "install wake down end", "failed driver over"},
	} {
		p := newPlay()
		var did []string
		for _, s := range strings.Split(tc.script, ", ") {
			p.step(s)
			for _, a := range p.m.Take() {
				did = append(did, string(a))
			}
		}
		state := string(p.m.State)
		if p.m.Code != "" && p.m.State != Degraded {
			state += " " + p.m.Code
		}
		if p.m.Over() {
			state += " over"
		}
		if got := strings.Join(did, " "); got != tc.actions || state != tc.state {
			t.Errorf("%s:\n got %s: %s\nwant %s: %s", tc.name, got, state, tc.actions, tc.state)
		}
	}
}

func TestRestored(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, tc := range []struct {
		name    string
		m       Machine
		actions []Action
		state   State
	}{
		{"connected", Machine{State: Connected, Rev: 2, Installed: 2, Acked: 2, Ready: true, Proved: true, Woken: true}, []Action{Install}, Connected},
		{"not acked", Machine{State: Connecting, Rev: 2, Installed: 2, Acked: 1, Woken: true}, []Action{Install, Admit}, Connecting},
		{"moving", Machine{State: Connected, Rev: 2, Installed: 2, Acked: 1, Ready: true, Woken: true}, []Action{Install, Admit}, Connected},
		{"not installed", Machine{State: Opening, Rev: 1}, []Action{Install}, Opening},
		{"not issued", Machine{State: Opening}, nil, Failed},
		{"closing", Machine{State: Closing, Rev: 1, Woken: true}, []Action{Down, End}, Closing},
		{"alone", Machine{State: Connected, Rev: 2, Installed: 2, Acked: 2, Ready: true, Woken: true, Alone: true}, nil, Connected},
		{"alone, not acked", Machine{State: Connecting, Rev: 1, Installed: 1, Woken: true, Alone: true}, []Action{Wake}, Connecting},
		{"alone, not woken", Machine{State: Opening, Rev: 1, Alone: true}, []Action{Wake}, Connecting},
		{"alone, closing", Machine{State: Closing, Rev: 1, Woken: true, Alone: true}, []Action{Down}, Closing},
		{"alone, failed", Machine{State: Failed, Rev: 1, Alone: true}, nil, Failed},
		{"failed", Machine{State: Failed, Rev: 1}, []Action{End}, Failed},
	} {
		tc.m.Ends = now.Add(time.Hour)
		tc.m.Sync()
		if !tc.m.Resumes() {
			t.Errorf("%s: does not resume", tc.name)
		}
		tc.m.Restored(now)
		if got := tc.m.Take(); !slices.Equal(got, tc.actions) || tc.m.State != tc.state || tc.m.Resumes() {
			t.Errorf("%s: %v, %s, want %v, %s", tc.name, got, tc.m.State, tc.actions, tc.state)
		}
	}
}

// Whatever happens in whatever order: a session ends, final states stay, a device
// is not woken before its node has the revision, and nothing is done after the end.
func FuzzMachine(f *testing.F) {
	steps := []string{"ask", "answered", "issued", "unissued x", "installed 1", "installed 2", "noderefused", "proved", "nodeclosed", "authorised 1",
		"ready 1", "ready 2", "degraded 1", "failed driver", "failed unknown_prekey", "oldfailed wrong_boot", "gone", "refused busy", "refused unknown_prekey",
		"busysibling", "rebooted", "shakes", "moves", "admitted", "nodebusy", "unplaced busy", "stays", "close", "+1s", "+6s", "+70s"}
	f.Add([]byte{2, 4, 10, 7, 21, 16, 8})
	f.Add([]byte{0, 1, 2, 4, 18, 1, 2, 5, 11, 7})
	f.Add([]byte{128, 2, 10, 22, 2, 11, 21, 16})
	for range 20 {
		b := make([]byte, 30)
		for i := range b {
			b[i] = byte(rand.N(len(steps)))
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		p := newPlay()
		if len(script) > 0 && script[0] >= 128 {
			p.step("alone")
		}
		for _, b := range script[:min(len(script), 200)] {
			was, over := p.m.State, p.m.Over()
			p.step(steps[int(b)%len(steps)])
			for _, a := range p.m.Take() {
				switch {
				case over:
					t.Fatalf("%s after the end", a)
				case p.m.Alone && (a == Install || a == End):
					t.Fatalf("%s without a node", a)
				case a == Wake && p.m.Installed == 0:
					t.Fatal("woken before the node has it")
				}
			}
			if (was == Failed || was == Closed) && p.m.State != was {
				t.Fatalf("%s became %s", was, p.m.State)
			}
			if p.m.State == Connected && !(p.m.Ready && (p.m.Proved || p.m.Alone || p.m.Moving())) {
				t.Fatal("connected without both words")
			}
		}
		p.step("+3h")
		if !p.m.Over() {
			t.Fatalf("never over: %+v", p.m)
		}
	})
}
