package control

import (
	"testing"

	"github.com/boothwire/boothwire/gateway/control/client"
)

// Whoever leaves twice, or was never in a session, closes it for nobody else. Closing it
// for all is a thing of its own.
func TestLeavingClosesForNobodyElse(t *testing.T) {
	w := newWorld(t, nil)
	w.pair()
	boss, other := User{Name: "boss", Role: Approver}, User{Name: "other", Role: Approver}
	s := w.mustOpen(boss, "kiosk-1")
	w.reaches(s.ID, client.Connected)
	ann := w.mustOpen(op("ann"), "kiosk-1")
	for i := range 3 {
		v, err := w.c.Client(boss).CloseSession(t.Context(), s.ID)
		if err != nil || v.State.Final() || v.State == client.Closing || len(v.Operators) != 1 || v.Operators[0].User != "ann" {
			t.Fatalf("left %d times: %+v, %v", i+1, v, err)
		}
	}
	if v, err := w.c.Client(boss).RemoveOperator(t.Context(), s.ID, s.Operator); err != nil || len(v.Operators) != 1 {
		t.Errorf("removed who had left: %+v, %v", v, err)
	}
	for _, tc := range []struct {
		who  string
		out  func() (client.Session, error)
		want string
	}{
		{"an approver who was never in it", func() (client.Session, error) { return w.c.Client(other).CloseSession(t.Context(), s.ID) }, "not_in_session"},
		{"an operator who was never in it", func() (client.Session, error) { return w.c.Client(op("eve")).CloseSession(t.Context(), s.ID) }, "forbidden"},
		{"an operator, for all", func() (client.Session, error) { return w.c.Client(op("eve")).CloseForAll(t.Context(), s.ID) }, "forbidden"},
		{"one whom nobody knows", func() (client.Session, error) { return w.c.Client(boss).RemoveOperator(t.Context(), s.ID, "nobody") }, "not_found"},
	} {
		if v, err := tc.out(); code(err) != tc.want {
			t.Errorf("%s: %+v, %v", tc.who, v, err)
		}
	}
	if v, _ := w.admin.Session(t.Context(), s.ID); v.State != client.Connected {
		t.Fatalf("it is %+v", v)
	}
	w.mustOpen(op("bob"), "kiosk-1")
	if v, err := w.c.Client(op("ann")).CloseForAll(t.Context(), s.ID); code(err) != "forbidden" {
		t.Errorf("ann closed bob's: %+v, %v", v, err)
	}
	if _, err := w.c.Client(other).RemoveOperator(t.Context(), s.ID, ann.Operator); err != nil {
		t.Fatal(err)
	}
	v, err := w.c.Client(op("bob")).CloseForAll(t.Context(), s.ID) // nobody else is in it
	if err != nil || len(v.Operators) != 1 {
		t.Fatalf("bob closed it: %+v, %v", v, err)
	}
	w.reaches(s.ID, client.Closed)
	// Again it is no error, and nothing more.
	if _, err := w.c.Client(op("bob")).CloseForAll(t.Context(), s.ID); err != nil {
		t.Error(err)
	}
	kicked, order := "", ""
	for a, err := range w.admin.Audit(t.Context(), client.Filter{}) {
		if err == nil && a.What == auditLeave && a.Who == "other" {
			kicked = a.Detail
		}
		if err == nil && (a.What == auditClose || a.What == auditEnded) {
			order += a.What + " "
		}
	}
	if kicked != "ann" || w.audited(auditLeave, "") != 2 || w.audited(auditClose, "") != 1 {
		t.Errorf("the audit has %q removed, %d left, %d closed", kicked, w.audited(auditLeave, ""), w.audited(auditClose, ""))
	}
	if order != "ended close " {
		t.Errorf("the audit has, the latest first, %s", order)
	}
}
