package control

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/pool"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/internal/postgrestest"
	"github.com/boothwire/boothwire/keys"
)

// ahead is a clock that goes, and that a test sets ahead.
type ahead struct{ by atomic.Int64 }

func (a *ahead) now() time.Time        { return time.Now().Add(time.Duration(a.by.Load())) }
func (a *ahead) move(by time.Duration) { a.by.Add(int64(by)) }

// smallPool has 32 addresses for operators.
var smallPool = netip.MustParsePrefix("10.1.2.0/24")

// visit opens a session with b that as many join as can, and closes it.
func (w *world) visit(b *booth) error {
	var id string
	for range maxOperators {
		s, err := w.open(op("ann"), b.keys.ID())
		if err != nil {
			return err
		}
		id = s.ID
	}
	w.reaches(id, client.Connected)
	if _, err := w.c.Client(op("ann")).CloseSession(w.t.Context(), id); err != nil {
		return err
	}
	w.reaches(id, client.Closed)
	return nil
}

// A day of visits takes no more operators' addresses than there are at a time, and those
// that rest; both databases, and a control that begins again, give them on.
func TestAddressesLastTheDay(t *testing.T) {
	for name, dsn := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "file:" + t.TempDir() + "/control.db" },
		"postgres": func(t *testing.T) string { return postgrestest.Start(t).Database() },
	} {
		t.Run(name, func(t *testing.T) {
			clock := new(ahead)
			w := newWorldOn(t, dsn(t), &Config{Pool: smallPool, Now: clock.now})
			n := w.node("wg-1")
			b := w.booth("kiosk-1", true).serve().known()
			n.proves(b)
			for i := range 7 {
				if err := w.visit(b); err != nil {
					t.Fatalf("visit %d: %v", i, err)
				}
				clock.move(8 * time.Minute)
				if i == 4 {
					n.stop()
					w.restart()
					n.connect()
					n.follow()
				}
			}
			u := w.c.Stats().Addresses[string(pool.Operator)]
			if u.Size != 32 || u.Busy != 0 || u.Resting != 2*maxOperators {
				t.Errorf("at the end: %+v", u)
			}
		})
	}
}

// Whoever finds the pool used up is told how it is and when there is room.
func TestAddressesUsedUp(t *testing.T) {
	clock := new(ahead)
	w := newWorld(t, &Config{Pool: smallPool, Now: clock.now})
	_, b := w.pair()
	for i := range 32 / maxOperators {
		if err := w.visit(b); err != nil {
			t.Fatalf("visit %d: %v", i, err)
		}
	}
	_, err := w.open(op("ann"), "kiosk-1")
	if e := new(client.Error); !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || e.Code != codeNoAddress || !strings.Contains(err.Error(), "0 in use, 32 at rest, the next for ") {
		t.Fatalf("opened with %v", err)
	}
	if u := w.c.Stats().Addresses[string(pool.Operator)]; u.Free() != 0 {
		t.Errorf("%+v", u)
	}
	clock.move(20 * time.Minute)
	if err := w.visit(b); err != nil {
		t.Error(err)
	}
}

// Somebody whose removal could not be written is in the session still, and so is his
// address his.
func TestAddressOfWhoStays(t *testing.T) {
	w := newWorld(t, &Config{Pool: smallPool})
	w.pair()
	s := w.mustOpen(op("ann"), "kiosk-1")
	w.mustOpen(op("bob"), "kiosk-1")
	live := w.live(s.ID)
	d, err := w.c.draft(live, change{remove: []string{s.Operator}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w.c.undo(live, d)
	if u := w.c.Stats().Addresses[string(pool.Operator)]; u.Busy != 2 || u.Resting != 0 {
		t.Errorf("%+v", u)
	}
}

// A node whose address turns out to be somebody's gets another by the next claim, as the
// refusal says.
func TestClaimAfterAnAddressOfAnother(t *testing.T) {
	w := newWorld(t, nil)
	const taken = "10.166.255.0"
	if err := w.c.store.Do(t.Context(), func(tx *store.Tx) error {
		return tx.TakeAddress(store.Address{Address: taken, Kind: "device", Holder: "another", Used: time.Now()}, time.Now())
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.admin.ClaimNode(t.Context(), "wg-1"); code(err) != codeNoAddress {
		t.Fatalf("claimed: %v", err)
	}
	w.node("wg-1")
	if n := w.nodeNow("wg-1"); n.Proof.String() != "10.166.255.1" {
		t.Errorf("its proof address is %v", n.Proof)
	}
}

// A node that is drained while it enrols drains.
func TestDrainedWhileItEnrols(t *testing.T) {
	w := newWorld(t, nil)
	claim, id := w.claim("wg-1"), identity(t)
	begun, block, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_ = w.c.store.Do(t.Context(), func(*store.Tx) error { close(begun); <-block; return nil })
	}()
	<-begun
	go func() {
		_, err := w.c.enrol(id.Key(), &enrolRequest{Claim: claim, Key: keys.NewPrivateKey().Public()})
		done <- err
	}()
	eventually(t, "its enrolment waits to be written", func() bool { return w.c.store.Stats().Waiting > 0 })
	if _, err := w.admin.DrainNode(t.Context(), "wg-1", client.DrainRequest{Draining: true}); err != nil {
		t.Error(err)
	}
	close(block)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := w.nodeNow("wg-1"); !n.Draining || n.Identity != id.Key() {
		t.Errorf("it is %+v", n)
	}
}
