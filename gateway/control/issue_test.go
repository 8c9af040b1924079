package control

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
)

// A join that fails takes no address from whoever comes next.
func TestFailedJoinCostsNoAddress(t *testing.T) {
	w := newWorld(t, &Config{Pool: netip.MustParsePrefix("10.1.2.0/24")}) // 32 for operators
	w.connected()
	w.c.store.Fence(99) // nothing can be written
	for range 40 {
		if _, err := w.open(op("eve"), "kiosk-1"); code(err) != codeNoDatabase {
			t.Fatalf("joined: %v", err)
		}
	}
	w.c.store.Fence(0)
	if v := w.mustOpen(op("bob"), "kiosk-1"); len(v.Operators) != 2 || v.Operators[0].Address == v.Operators[1].Address {
		t.Errorf("%+v", v.Operators)
	}
}

// Nor is it one of those that its user took.
func TestFailedJoinCountsForNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.connected()
	w.c.store.Fence(99) // nothing can be written
	if _, err := w.open(op("eve"), "kiosk-1"); code(err) != codeNoDatabase {
		t.Fatalf("joined: %v", err)
	}
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if n := len(w.c.shares.taken["eve"]); n != 0 {
		t.Errorf("%d addresses count as taken", n)
	}
}

// A session that ends while a grant is being made is over in the database, too.
func TestEndedWhileIssued(t *testing.T) {
	w := newWorld(t, nil)
	w.pair()
	v := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(v.ID, client.Connected)
	c, ch, now := w.c, change{lifetime: 2 * time.Hour}, time.Now()
	c.mu.Lock()
	s := c.sessions[v.ID]
	c.mu.Unlock()
	d, err := c.draft(s, ch, now)
	if err != nil {
		t.Fatal(err)
	}
	c.closeFor(s, "", "")
	w.reaches(v.ID, client.Closed)
	if err := c.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.enact(s, ch, d, now); code(err) != keys.ReasonClosed {
		t.Errorf("issued: %v", err)
	}
	if err := c.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows, err := c.store.OpenSessions(t.Context()); err != nil || len(rows) != 0 {
		t.Errorf("%d are open after a restart, %v", len(rows), err)
	}
}

// A session that is over by the time at which its closing is written stays so.
func TestOverBeforeItsClosingIsWritten(t *testing.T) {
	w := newWorld(t, nil)
	w.pair()
	v := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(v.ID, client.Connected)
	c, begun, block := w.c, make(chan struct{}), make(chan struct{})
	free := sync.OnceFunc(func() { close(block) })
	defer free()
	var writes sync.WaitGroup
	writes.Go(func() {
		_ = c.store.Do(context.Background(), func(*store.Tx) error { close(begun); <-block; return nil })
	})
	<-begun
	c.mu.Lock()
	s := c.sessions[v.ID]
	c.mu.Unlock()
	writes.Go(func() { c.written(context.Background(), s) })
	eventually(t, "the write waits", func() bool { return c.store.Stats().Waiting > 0 })
	c.closeFor(s, "", "")
	eventually(t, "it is over", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.sessions[v.ID] == nil })
	free()
	writes.Wait()
	if err := c.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows, err := c.store.OpenSessions(t.Context()); err != nil || len(rows) != 0 {
		t.Errorf("%d are open after a restart, %v", len(rows), err)
	}
}
