package control

import (
	"fmt"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// Who was not let in at the node must not stay in the session: every later revision
// would be refused with him.
func TestJoinRefusedByNodeIsUndone(t *testing.T) {
	w := newWorld(t, nil)
	n, _, s := w.connected()
	n.mu.Lock()
	n.refuse = keys.ReasonUsedPrekey
	n.mu.Unlock()
	if _, err := w.open(op("eve"), "kiosk-1"); code(err) != "node_unreachable" {
		t.Fatalf("eve joined: %v", err)
	}
	n.mu.Lock()
	n.refuse = ""
	n.mu.Unlock()
	eventually(t, "eve is out", func() bool {
		v, err := w.admin.Session(t.Context(), s.ID)
		return err == nil && len(v.Operators) == 1 && v.Operators[0].User == "ann"
	})
	if v, err := w.c.Client(op("ann")).ExtendSession(t.Context(), s.ID, time.Hour); err != nil || len(v.Operators) != 1 {
		t.Errorf("ann extends: %+v, %v", v, err)
	}
}

// An open that comes while the first one's grant is being made does not slip in.
func TestExclusiveWhileOpening(t *testing.T) {
	w := newWorld(t, &Config{Exclusive: true})
	w.pair()
	const engineers = 8
	errs := make(chan error, engineers)
	for i := range engineers {
		go func() {
			_, err := w.open(op(fmt.Sprint("engineer ", i)), "kiosk-1")
			errs <- err
		}()
	}
	in := 0
	for range engineers {
		switch err := <-errs; code(err) {
		case "":
			in++
		case keys.ReasonBusy:
		default:
			t.Error(err)
		}
	}
	if in != 1 {
		t.Errorf("%d engineers are in", in)
	}
}

// The last two leave at once: neither is the last when he asks, and yet nobody is left.
func TestLastTwoLeaveAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	w.pair()
	v := w.mustOpen(op("ann"), "kiosk-1")
	w.mustOpen(op("bob"), "kiosk-1")
	s := w.live(v.ID)
	s.issuing.Lock()
	left := make(chan error, 2)
	for _, name := range []string{"ann", "bob"} {
		go func() {
			_, err := w.c.Client(op(name)).CloseSession(t.Context(), v.ID)
			left <- err
		}()
	}
	time.Sleep(100 * time.Millisecond) // until both have seen each other
	s.issuing.Unlock()
	for range 2 {
		if err := <-left; err != nil {
			t.Error(err)
		}
	}
	w.reaches(v.ID, client.Closed)
}
