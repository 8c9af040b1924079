package control

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// Devices are woken at the node's pace, single ones before those of a batch, and each
// session says its place.
func TestWaiting(t *testing.T) {
	var stopped atomic.Pointer[time.Time] // so that no gate opens while the test looks
	w := newWorld(t, &Config{Wakes: 4, Now: func() time.Time {
		if at := stopped.Load(); at != nil {
			return *at
		}
		return time.Now()
	}})
	n := w.node("wg-1")
	open := func(user, device string, batch bool) client.Session {
		t.Helper()
		b := w.booth(device, true).serve().known()
		n.proves(b)
		s, err := w.c.Client(op(user)).OpenSession(t.Context(), device, &client.OpenRequest{Key: keys.NewPrivateKey().Public(), Batch: batch})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	now := time.Now()
	stopped.Store(&now)
	first := open("ann", "kiosk-0", false)
	if first.Waiting != nil || !hasStep(&session{ladder: first.Ladder}, stageWoken) {
		t.Errorf("alone, it waits: %+v", first)
	}
	var batch []client.Session
	for i := range 3 {
		batch = append(batch, open("job", fmt.Sprint("kiosk-", i+1), true))
	}
	single := open("bob", "kiosk-9", false)
	waits := func(s client.Session) *client.Waiting {
		v, err := w.admin.Session(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		return v.Waiting
	}
	if p := waits(single); p == nil || p.Position != 1 || p.For.Duration() != 250*time.Millisecond {
		t.Errorf("the single one waits as %+v", p)
	}
	if p := waits(batch[2]); p == nil || p.Position < 3 {
		t.Errorf("the last of the batch waits as %+v", p)
	}
	w.mustClose(op("job"), batch[1].ID)
	w.reaches(batch[1].ID, client.Closed)
	stopped.Store(nil)
	woken := func(s client.Session) time.Duration {
		v := w.reaches(s.ID, client.Connected)
		for _, p := range v.Ladder {
			if p.Stage == stageWoken {
				return v.Opened.Add(p.After.Duration()).Sub(first.Opened)
			}
		}
		t.Fatalf("never woken: %+v", v)
		return 0
	}
	if a, b := woken(single), woken(batch[2]); a >= b {
		t.Errorf("the single one was woken at %v, one of the batch before it at %v", a, b)
	}
	if p := waits(single); p != nil {
		t.Errorf("woken, it still waits: %+v", p)
	}
}
