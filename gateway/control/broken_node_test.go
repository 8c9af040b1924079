package control

import (
	"slices"
	"testing"

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
