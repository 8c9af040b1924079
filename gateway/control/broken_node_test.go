package control

import (
	"context"
	"io"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// told reports whether a node was told anything about a session, once it has read all
// that was said to it before.
func (n *fakeNode) told(session string) bool {
	n.w.t.Helper()
	mark := keys.NewID() // of no session, so that it is told that this one is over
	n.report(nodeReport{Sessions: &[]nodeHeld{{Session: mark, Rev: 1}}})
	of := func(id string) bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return slices.ContainsFunc(n.lines, func(l nodeLine) bool { return l.Session == id })
	}
	eventually(n.w.t, "the node has read", func() bool { return of(mark) })
	return of(session)
}

// A node that somebody broke into learns ids of sessions that are another node's, as its
// relay does. To say that it holds one gets it neither the grant, with the operators and
// their addresses, nor a say: not about its bytes, and not where it goes; of a control
// that has begun again neither.
func TestClaimOfAnothersSession(t *testing.T) {
	w := newWorld(t, nil)
	good := w.node("wg-1")
	b := w.booth("kiosk-1", true).serve().known()
	good.proves(b)
	s := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	evil := w.node("wg-2")
	claims := func() {
		t.Helper()
		before := w.audited(auditNode, notItsSession)
		for _, rev := range []int{1, -1, 1 << 40} {
			evil.report(nodeReport{Sessions: &[]nodeHeld{{Session: s.ID, Rev: rev}}})
		}
		evil.report(nodeReport{Events: []nodeEvent{{Kind: eventBytes, Session: s.ID, Rx: 1 << 40}, {Kind: eventClosed, Session: s.ID, Rx: 1 << 40}}})
		if evil.told(s.ID) {
			t.Error("it is told of the session")
		}
		w.c.mu.Lock()
		o := w.c.sessions[s.ID]
		rx, former, carrier := o.rx, len(o.former), o.carrier
		w.c.mu.Unlock()
		if rx != 0 || former > 0 || carrier != nil && carrier.row.Name == "wg-2" {
			t.Errorf("it has a say: %d bytes, one of %d", rx, former)
		}
		if w.audited(auditNode, notItsSession) == before {
			t.Error("not audited")
		}
	}
	claims()
	w.stop()
	evil.stop()
	good.stop()
	w.start()
	evil.connect()
	evil.follow()
	claims()
	good.connect()
	good.follow()
	if v, err := w.admin.Session(t.Context(), s.ID); err != nil || v.State != client.Connected || v.Node != "wg-1" {
		t.Errorf("it is %+v, %v", v, err)
	}
}

// An end-to-end session is no node's.
func TestClaimOfAnEndToEndSession(t *testing.T) {
	w := newWorld(t, nil)
	w.able("kiosk-1")
	evil := w.node("wg-2")
	s := w.mustBetween(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	evil.report(nodeReport{Sessions: &[]nodeHeld{{Session: s.ID, Rev: 1}}})
	evil.report(nodeReport{Events: []nodeEvent{{Kind: eventBytes, Session: s.ID, Rx: 1 << 40}}})
	if v, err := w.admin.Session(t.Context(), s.ID); err != nil || v.Rx != 0 {
		t.Errorf("it is %+v, %v", v, err)
	}
	if evil.told(s.ID) {
		t.Error("it is told of the session")
	}
}

// What a node says of itself is bounded, and no more than people and grants can take.
func TestBrokenNodeOfItself(t *testing.T) {
	w := newWorld(t, nil)
	evil := w.node("wg-2")
	evil.report(nodeReport{
		Sessions: &[]nodeHeld{}, Capacity: math.MaxInt, Region: "\x1b]52;c;\x07" + strings.Repeat("北", 1000), Version: "\x1b[2J1.0",
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("[fe80::1%" + strings.Repeat("z", 1000) + "]:1"), netip.MustParseAddrPort("192.0.2.7:51820")},
	})
	n := w.nodeNow("wg-2")
	if n.Version != "[2J1.0" || n.Region != "]52;c;"+strings.Repeat("北", 18) || n.Capacity != maxHeld || len(n.Endpoints) != 1 {
		t.Errorf("it is shown as %+v", n)
	}
	b := w.booth("kiosk-1", true).serve().known()
	evil.proves(b)
	s := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	from := netip.MustParseAddr("fe80::1%" + strings.Repeat("z", 1<<20)) // which control would keep for each device
	evil.report(nodeReport{Events: []nodeEvent{{Kind: eventBytes, Session: s.ID, From: from}}})
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if d := w.c.devices["kiosk-1"]; d.from.IsValid() {
		t.Errorf("the device comes from %.40v", d.from)
	}
}

// A report is looked at under the lock that all of control waits for: it is short, and
// nothing is signed meanwhile. A node has one at a time.
func TestBrokenNodeHoldsNobodyUp(t *testing.T) {
	w := newWorld(t, nil)
	evil := w.node("wg-2")
	many := make([]nodeHeld, maxHeld+1)
	for i := range many {
		many[i].Session = "made-up-" + itoa(i)
	}
	for what, r := range map[string]nodeReport{
		"events":   {Events: make([]nodeEvent, maxEvents+1)},
		"sessions": {Sessions: &many},
	} {
		if code := evil.post(pathReport, r, nil); code != http.StatusRequestEntityTooLarge {
			t.Errorf("too many %s: %d", what, code)
		}
	}
	w.c.mu.Lock()
	n := w.c.nodes["wg-2"]
	before := len(n.link.lines)
	same := slices.Repeat([]nodeHeld{{Session: "the-same"}}, maxHeld)
	if unknown := w.c.told(n, &nodeReport{Sessions: &same}, w.c.cfg.Now()); len(unknown) != 1 {
		t.Errorf("one that it names often is %d", len(unknown))
	}
	all := many[:1000]
	if unknown := w.c.told(n, &nodeReport{Sessions: &all}, w.c.cfg.Now()); len(unknown) != len(all) || len(n.link.lines) != before {
		t.Errorf("%d to be signed, %d lines", len(unknown), len(n.link.lines))
	}
	w.c.mu.Unlock()
	n.reporting <- struct{}{} // one is under way
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	body := new(untouched)
	r, _ := http.NewRequestWithContext(ctx, http.MethodPost, localURL+pathReport, body)
	if res, err := evil.way().Do(r); err == nil {
		t.Errorf("another one: %d", res.StatusCode)
		res.Body.Close()
	}
	if body.read.Load() {
		t.Error("what waits is read")
	}
	<-n.reporting
	evil.report(nodeReport{})
}

// untouched notes whether anybody has read it.
type untouched struct{ read atomic.Bool }

func (u *untouched) Read([]byte) (int, error) {
	u.read.Store(true)
	return 0, io.EOF
}

// A node that begins to follow all the time, and is told all each time, has to wait.
func TestBrokenNodeFollows(t *testing.T) {
	clock := newStopped()
	w := newWorld(t, &Config{Now: clock.now})
	evil := w.node("wg-2")
	follow := func() int {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, localURL+pathFollow, nil)
		res, err := evil.way().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	for range followsBurst {
		follow()
	}
	if code := follow(); code != http.StatusTooManyRequests {
		t.Errorf("once more: %d", code)
	}
	clock.move(time.Second)
	if code := follow(); code != http.StatusOK {
		t.Errorf("a second later: %d", code)
	}
}

// A node that loses a session again and again has control make no revision each time.
func TestBrokenNodeLoses(t *testing.T) {
	w := newWorld(t, nil)
	evil := w.node("wg-2")
	b := w.booth("kiosk-1", true).serve().known()
	evil.proves(b)
	s := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	for range 50 {
		evil.report(nodeReport{Sessions: &[]nodeHeld{}})
		evil.report(nodeReport{Events: []nodeEvent{{Kind: eventProved, Session: s.ID, Rev: s.Rev}}})
	}
	w.c.mu.Lock()
	o := w.c.sessions[s.ID]
	w.c.mu.Unlock()
	o.issuing.Lock() // what is under way has come to its end
	o.issuing.Unlock()
	if v, err := w.admin.Session(t.Context(), s.ID); err != nil || v.Rev > s.Rev+revivesBurst || v.State != client.Connected {
		t.Errorf("it is %+v, %v", v, err)
	}
}
