package control

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// look has control look after its nodes at a time.
func (w *world) look(at time.Time) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.c.lookAfter(at)
}

// nodeNow is a node as the API has it.
func (w *world) nodeNow(name string) client.Node {
	w.t.Helper()
	for n, err := range w.admin.Nodes(w.t.Context()) {
		if err != nil {
			w.t.Fatal(err)
		}
		if n.Name == name {
			return n
		}
	}
	w.t.Fatalf("no node %s", name)
	return client.Node{}
}

// at waits until a session is at a node, and its device with it.
func (w *world) at(id, node string) client.Session {
	w.t.Helper()
	var v client.Session
	eventually(w.t, "the session is at "+node, func() bool {
		v, _ = w.admin.Session(w.t.Context(), id)
		return v.Node == node && !v.Moving && v.State == client.Connected
	})
	return v
}

// beat says that the node is there, and will say so each 5 s.
func (n *fakeNode) beat() {
	held := []nodeHeld{}
	n.mu.Lock()
	for s, rev := range n.held {
		held = append(held, nodeHeld{s, rev, false})
	}
	n.mu.Unlock()
	n.report(nodeReport{Sessions: &held, Beats: true})
}

// provedBy makes a device's handler tell the node that a grant names that its packets
// came.
func provedBy(b *booth, nodes ...*fakeNode) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.proved = func(g *keys.Grant) {
		for _, n := range nodes {
			if n.name == g.Far.Node {
				n.say(eventProved, g.Session, g.Rev, "")
			}
		}
	}
}

// pairOfNodes is a world with two nodes and a session at the first.
func pairOfNodes(t *testing.T, cfg *Config) (w *world, one, two *fakeNode, b *booth, s client.Session) {
	t.Helper()
	w = newWorld(t, cfg)
	one = w.node("wg-1")
	b = w.booth("kiosk-1", true).serve().known()
	one.proves(b)
	s = w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	two = w.node("wg-2")
	provedBy(b, one, two)
	return w, one, two, b, s
}

// A node that is gone for 15 s is lost, and its session goes to another. Before that
// nothing moves.
func TestNodeLost(t *testing.T) {
	w, one, two, b, s := pairOfNodes(t, nil)
	gone := time.Now() // at the earliest
	one.stop()
	eventually(t, "the stream has ended", func() bool { return w.c.Stats().Nodes == 1 })
	w.look(gone.Add(lostAfter - time.Second))
	one.follow()
	w.look(time.Now().Add(lostAfter + time.Second)) // it is there: its stream says so
	if n := w.nodeNow("wg-1"); n.State != "connected" || b.last().Rev != 1 {
		t.Fatalf("moved before its time: %+v, rev %d", n, b.last().Rev)
	}
	one.stop()
	eventually(t, "the stream has ended", func() bool { return w.c.Stats().Nodes == 1 })
	w.look(time.Now().Add(lostAfter + time.Second))
	v := w.at(s.ID, "wg-2")
	if g := b.last(); v.Rev != 2 || g.Rev != 2 || g.Far.Node != "wg-2" || g.Far.Key != two.key.Public() ||
		g.Prekey != b.grants[0].Prekey || !slices.Equal(g.Addresses, b.grants[0].Addresses) {
		t.Errorf("moved to %+v by %+v", v, g)
	}
	if n := w.nodeNow("wg-1"); n.State != "lost" || n.Sessions != 0 {
		t.Errorf("the lost one is %+v", n)
	}
	if w.audited(auditLost, "") != 1 || w.audited(auditMoved, "") != 1 || w.c.Stats().Moved != 1 || w.c.Stats().Moving != 0 {
		t.Error("not audited")
	}
	// Back, it is shown that the session is another's, and drops it.
	one.follow()
	eventually(t, "the lost one lets go", func() bool { return one.rev(s.ID) == 0 })
	if n := w.nodeNow("wg-1"); n.State != "connected" {
		t.Errorf("back, it is %+v", n)
	}
	// The engineer leaves, and the session ends at its node.
	w.mustClose(op("ann"), s.ID)
	w.reaches(s.ID, client.Closed)
	eventually(t, "nothing is left", func() bool { return two.rev(s.ID) == 0 && w.c.Stats().Sessions == 0 })
}

// Two nodes claim one session: control believes the one that the latest revision names.
// The other's bytes count, and it has no other say; it carries the session until the
// device is proved at its new node, and is then shown the revision that ends it there.
func TestTwoClaim(t *testing.T) {
	w, one, two, b, s := pairOfNodes(t, nil)
	b.mu.Lock()
	b.proved = nil // the device is on its way, and does not come
	b.mu.Unlock()
	one.report(nodeReport{Events: []nodeEvent{{Kind: eventBytes, Session: s.ID, Rx: 100, Tx: 10}}})
	if _, err := w.admin.DrainNode(t.Context(), "wg-1", client.DrainRequest{Draining: true, Move: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device is told", func() bool { return b.last().Far.Node == "wg-2" && two.rev(s.ID) == 2 })
	if n := w.nodeNow("wg-1"); n.Leaving != 1 || n.Sessions != 0 || !n.Moving {
		t.Errorf("on its way it is %+v", n)
	}
	one.stop()
	one.follow() // it says that it holds the session
	one.report(nodeReport{Events: []nodeEvent{{Kind: eventBytes, Session: s.ID, Rx: 150, Tx: 15}}})
	for _, kind := range []string{eventInstalled, eventProved, eventRefused} {
		one.say(kind, s.ID, 2, "")
	}
	v, err := w.admin.Session(t.Context(), s.ID)
	if err != nil || !v.Moving || v.Node != "wg-2" || v.State != client.Connected || v.Rx != 150 || v.Tx != 15 {
		t.Errorf("after the words of the node before: %+v, %v", v, err)
	}
	if one.rev(s.ID) != 1 {
		t.Error("the node before let go before the device had come")
	}
	two.report(nodeReport{Events: []nodeEvent{{Kind: eventBytes, Session: s.ID, Rx: 7, Tx: 1, From: netip.MustParseAddr("203.0.113.7")}}})
	w.c.mu.Lock()
	if from := w.c.devices["kiosk-1"].from; from.String() != "203.0.113.7" {
		t.Errorf("the device comes from %v", from)
	}
	w.c.mu.Unlock()
	two.say(eventProved, s.ID, 2, "")
	v = w.at(s.ID, "wg-2")
	eventually(t, "the node before lets go", func() bool { return one.rev(s.ID) == 0 && two.rev(s.ID) == 2 })
	one.say(eventClosed, s.ID, 1, "expired")
	if v, _ = w.admin.Session(t.Context(), s.ID); v.State != client.Connected || v.Rx != 157 || v.Tx != 16 {
		t.Errorf("after all: %+v", v)
	}
}

// What a node says of an earlier stay of a session may come when the session is back: it
// ends nothing, and proves nothing.
func TestWordOfEarlierStay(t *testing.T) {
	w, one, two, b, s := pairOfNodes(t, nil)
	drain := func(node string, on bool) {
		t.Helper()
		if _, err := w.admin.DrainNode(t.Context(), node, client.DrainRequest{Draining: on, Move: on}); err != nil {
			t.Fatal(err)
		}
	}
	drain("wg-1", true)
	w.at(s.ID, "wg-2")
	eventually(t, "the first lets go", func() bool { return one.rev(s.ID) == 0 })
	drain("wg-1", false)
	b.mu.Lock()
	b.proved = nil // the device is on its way back
	b.mu.Unlock()
	drain("wg-2", true)
	eventually(t, "the device is told", func() bool { return b.last().Rev == 3 && one.rev(s.ID) == 3 })
	one.say(eventProved, s.ID, 1, "")
	one.say(eventClosed, s.ID, 1, "moved")
	if v, err := w.admin.Session(t.Context(), s.ID); err != nil || v.State != client.Connected || !v.Moving || v.Node != "wg-1" {
		t.Fatalf("after words of before: %+v, %v", v, err)
	}
	one.say(eventProved, s.ID, 3, "")
	w.at(s.ID, "wg-1")
	eventually(t, "the second lets go", func() bool { return two.rev(s.ID) == 0 })
	one.say(eventClosed, s.ID, 3, "idle")
	if v := w.reaches(s.ID, client.Closed); v.Code != "idle" {
		t.Errorf("closed as %+v", v)
	}
}

// A control that begins again knows where its sessions are on their way to, and waits
// for a node as long as it would for one that it had heard.
func TestRestartedWaits(t *testing.T) {
	w, one, two, b, s := pairOfNodes(t, nil)
	w.stop()
	one.stop()
	two.stop()
	began := time.Now() // at the earliest
	w.start()
	two.connect()
	two.follow()
	w.look(began.Add(lostAfter - time.Second))
	if n := w.nodeNow("wg-1"); n.State != "disconnected" {
		t.Errorf("lost at once: %+v", n)
	}
	one.connect()
	one.follow()
	w.look(time.Now().Add(lostAfter + 3*time.Second))
	if n := w.nodeNow("wg-1"); n.State != "connected" || w.at(s.ID, "wg-1").Rev != 1 {
		t.Errorf("moved, though it is back: %+v", n)
	}
	// Begun again in the middle of a move.
	b.mu.Lock()
	b.proved = nil
	b.mu.Unlock()
	if _, err := w.admin.DrainNode(t.Context(), "wg-1", client.DrainRequest{Draining: true, Move: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device is told", func() bool { return b.last().Far.Node == "wg-2" })
	w.stop()
	one.stop()
	two.stop()
	w.start()
	one.connect()
	one.follow()
	two.connect()
	two.follow()
	eventually(t, "it is still on its way", func() bool {
		v, err := w.admin.Session(t.Context(), s.ID)
		return err == nil && v.Moving && v.Node == "wg-2" && v.State == client.Connected && one.rev(s.ID) == 1
	})
	if n := w.nodeNow("wg-1"); !n.Draining || !n.Moving || n.Leaving != 1 {
		t.Errorf("it drains as %+v", n)
	}
	two.say(eventProved, s.ID, 2, "")
	w.at(s.ID, "wg-2")
	eventually(t, "the node before lets go", func() bool { return one.rev(s.ID) == 0 })
}

// A node whose stream stands and that says nothing is late after 10 s and lost after
// 15; a control that was held up gives it its time.
func TestSilentNode(t *testing.T) {
	w, one, two, _, s := pairOfNodes(t, nil)
	earliest := time.Now()
	one.beat()
	latest := time.Now()
	takes := func(at time.Time) bool {
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		return w.c.nodes["wg-1"].takes(at)
	}
	if !takes(earliest.Add(9*time.Second)) || takes(latest.Add(11*time.Second)) {
		t.Error("late at another time than after 10 s")
	}
	w.look(earliest.Add(14 * time.Second))
	if n := w.nodeNow("wg-1"); n.State != "connected" {
		t.Errorf("lost before its time: %+v", n)
	}
	w.c.mu.Lock()
	w.c.since = latest.Add(10 * time.Second) // as after a stop of control
	w.c.mu.Unlock()
	w.look(latest.Add(24 * time.Second))
	if n := w.nodeNow("wg-1"); n.State != "connected" {
		t.Errorf("lost, though control had not listened: %+v", n)
	}
	w.look(latest.Add(26 * time.Second))
	w.at(s.ID, "wg-2")
	_ = two
}

// Sessions that nobody can take stay as they are, and go once somebody can.
func TestNobodyTakes(t *testing.T) {
	w, one, two, b, s := pairOfNodes(t, nil)
	two.stop()
	one.stop()
	eventually(t, "both streams have ended", func() bool { return w.c.Stats().Nodes == 0 })
	now := time.Now()
	w.look(now.Add(lostAfter + time.Second))
	if v, _ := w.admin.Session(t.Context(), s.ID); v.State != client.Connected || v.Node != "wg-1" || v.Moving || b.last().Rev != 1 {
		t.Errorf("stays as %+v", v)
	}
	two.follow()
	w.look(now.Add(lostAfter + time.Second + moveAgain))
	w.at(s.ID, "wg-2")
}

// A node that is full by its own word is passed over, at the opening too.
func TestFullNode(t *testing.T) {
	w := newWorld(t, nil)
	one, two := w.node("wg-1"), w.node("wg-2")
	one.mu.Lock()
	one.refuse = keys.ReasonBusy
	one.mu.Unlock()
	full := 0
	for _, id := range strings.Split("abcdef", "") {
		b := w.booth(id, true).serve().known()
		provedBy(b, one, two)
		s := w.mustOpen(op("ann"), id)
		if s.Node != "wg-2" {
			t.Errorf("opened at %s", s.Node)
		}
		if s.Rev > 1 {
			full++
		}
		w.at(s.ID, "wg-2")
	}
	if full != 1 {
		t.Errorf("%d sessions found out that the node is full, want one", full)
	}
	two.mu.Lock()
	two.refuse = keys.ReasonBusy
	two.mu.Unlock()
	w.booth("g", true).serve().known()
	if _, err := w.open(op("ann"), "g"); code(err) != "node_refused" {
		t.Errorf("with both full: %v", err)
	}
	w.booth("h", true).serve().known()
	if _, err := w.open(op("ann"), "h"); code(err) != codeFull {
		t.Errorf("and then: %v", err)
	}
}

// A node that says nothing is passed over, each is asked once, and the opening fails
// when none has answered.
func TestMuteNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	nodes := []*fakeNode{w.node("wg-1"), w.node("wg-2")}
	mute := func(n *fakeNode, on bool) { n.mu.Lock(); n.mute = on; n.mu.Unlock() }
	mute(nodes[0], true)
	mute(nodes[1], true)
	w.booth("kiosk-1", true).serve().known()
	if _, err := w.open(op("ann"), "kiosk-1"); code(err) != "node_unreachable" {
		t.Errorf("with two mute nodes: %v", err)
	}
	for _, n := range nodes {
		asked := 0
		n.mu.Lock()
		for _, l := range n.lines {
			if l.Kind == lineGrant {
				asked++
			}
		}
		n.mu.Unlock()
		if asked != 1 {
			t.Errorf("%s was asked %d times", n.name, asked)
		}
	}
	mute(nodes[0], false)
	w.booth("kiosk-3", true).serve().known()
	if _, err := w.c.Client(op("ann")).OpenSession(t.Context(), "kiosk-3", &client.OpenRequest{Key: keys.NewPrivateKey().Public(), Node: "wg-2"}); code(err) != "node_unreachable" {
		t.Errorf("at the one that was asked for: %v", err)
	}
	w.booth("kiosk-2", true).serve().known()
	if s := w.mustOpen(op("ann"), "kiosk-2"); s.Node != "wg-1" {
		t.Errorf("opened at %s", s.Node)
	}
}

// Devices of a group get the nodes of their region.
func TestRegions(t *testing.T) {
	w := newWorld(t, &Config{Regions: map[string]string{"mall-7": "sh"}})
	for name, region := range map[string]string{"wg-bj-1": "bj", "wg-sh-1": "sh"} {
		n := w.node(name)
		n.report(nodeReport{Sessions: &[]nodeHeld{}, Region: region, Capacity: 100})
	}
	for device, group := range map[string]string{"k1": "bj", "k2": "sh", "k3": "mall-7"} {
		b := w.booth(device, false)
		if _, err := w.admin.PutDevice(t.Context(), device, &client.DeviceRequest{Key: b.keys.Key(), Group: group}); err != nil {
			t.Fatal(err)
		}
		b.serve().known()
		want := map[string]string{"bj": "wg-bj-1", "sh": "wg-sh-1", "mall-7": "wg-sh-1"}[group]
		if s := w.mustOpen(op("ann"), device); s.Node != want {
			t.Errorf("a device of %s got %s", group, s.Node)
		}
	}
	if n := w.nodeNow("wg-sh-1"); n.Region != "sh" || n.Capacity != 100 || n.Sessions != 2 {
		t.Errorf("shown as %+v", n)
	}
}

// Who is taken out of a session that is on its way to another node is cut off at the one
// that carries it, at once, and is not in what then moves; also by a control that began
// again since, whether that node is there or comes later.
func TestRemovedWhileItMoves(t *testing.T) {
	for name, tc := range map[string]struct{ restart, late bool }{
		"by the same":            {},
		"begun again":            {restart: true},
		"begun again, node late": {restart: true, late: true},
	} {
		t.Run(name, func(t *testing.T) { removedWhileItMoves(t, tc.restart, tc.late) })
	}
}

func removedWhileItMoves(t *testing.T, restart, late bool) {
	w, one, two, b, s := pairOfNodes(t, nil)
	eve := w.mustOpen(op("eve"), "kiosk-1")
	b.mu.Lock()
	b.proved = nil // the device is on its way, and does not come
	b.mu.Unlock()
	carried := func(rx uint64) { // by the node before, in all
		t.Helper()
		one.report(nodeReport{Events: []nodeEvent{{Kind: eventBytes, Session: s.ID, Rx: rx}}})
		if v, err := w.admin.Session(t.Context(), s.ID); err != nil || v.Rx != rx {
			t.Errorf("%d bytes of %d, %v", v.Rx, rx, err)
		}
	}
	carried(100)
	if _, err := w.admin.DrainNode(t.Context(), "wg-1", client.DrainRequest{Draining: true, Move: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device is told", func() bool { return b.last().Far.Node == "wg-2" && two.rev(s.ID) == 3 })
	if restart {
		w.stop()
		one.stop()
		two.stop()
		w.start()
		two.connect()
		two.follow()
		one.connect()
		if !late {
			one.follow()
		}
	}
	if _, err := w.admin.RemoveOperator(t.Context(), s.ID, eve.Operator); err != nil {
		t.Fatal(err)
	}
	has := func(n *fakeNode, id string) (in bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, l := range n.lines { // the latest that names the node
			if g, err := n.roots.VerifyGrant([]byte(l.Token)); l.Kind == lineGrant && err == nil && g.Far.Node == n.name && g.Rev == n.held[s.ID] {
				in = slices.ContainsFunc(g.Operators, func(o keys.Operator) bool { return o.ID == id })
			}
		}
		return in
	}
	if late {
		eventually(t, "eve is out where the session goes", func() bool { return two.rev(s.ID) == 4 && !has(two, eve.Operator) })
		if restart {
			w.stop() // who was taken out is known to the next one, too
			two.stop()
			w.start()
			two.connect()
			two.follow()
			one.connect()
		}
		one.follow()
		eventually(t, "the node before lets go of what has eve in it", func() bool { return one.rev(s.ID) == 0 })
	} else {
		eventually(t, "eve is out where the session is", func() bool { return one.rev(s.ID) == 4 && !has(one, eve.Operator) })
		if !has(one, s.Operator) {
			t.Error("so is ann")
		}
		carried(150) // it has counted on
	}
	provedBy(b, one, two)
	if !late {
		eventually(t, "the device follows", func() bool { return b.last().Rev >= 4 }) // which moves again as soon as it may
	}
	two.say(eventProved, s.ID, b.last().Rev, "") // which the device may have had before it could prove it
	w.at(s.ID, "wg-2")
	eventually(t, "the node before lets go", func() bool { return one.rev(s.ID) == 0 })
	if has(two, eve.Operator) || !has(two, s.Operator) {
		t.Error("the operators at the new node are wrong")
	}
}
