package control

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
)

// The term in which a control decides about logins outlasts a lead that lapsed for a
// moment, and no longer: another may have it.
func TestTermOfALapsedLead(t *testing.T) {
	c, err := Open(t.Context(), "file:"+filepath.Join(t.TempDir(), "control.db"), &Config{Store: keys.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lapsed := func(ago time.Duration) *Logins {
		c.mu.Lock()
		c.lead = &lead{term: 1, until: time.Now().Add(-ago)}
		c.mu.Unlock()
		l := c.Logins()
		c.lapse()
		return l
	}
	first := lapsed(time.Second)
	if first.Term().Err() != nil {
		t.Error("it ends at once")
	}
	if here, _, _ := (&Member{c: c}).deciding(); here != nil || first.Decides() {
		t.Error("whoever comes is let in meanwhile")
	}
	if lapsed(keepTerm + time.Second); first.Term().Err() == nil {
		t.Error("it goes on")
	}
	if err := first.Put(t.Context(), Login{ID: "l", Hash: "h"}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after it a login is written: %v", err)
	}
	c.hold(time.Now().Add(time.Minute))
	if again := c.Logins(); !again.Decides() || again.Put(t.Context(), Login{ID: "l", Hash: "h"}) != nil {
		t.Error("none begins when the lead is back")
	}
	c.mu.Lock()
	c.lead = nil
	c.mu.Unlock()
}

// Who signed out while it could not be written is not there for whoever reads the logins
// before it is.
func TestSignOutBeforeItIsWritten(t *testing.T) {
	c, err := Open(t.Context(), "file:"+filepath.Join(t.TempDir(), "control.db"), &Config{Store: keys.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l := c.Logins()
	if err := l.Put(t.Context(), Login{ID: "l", Hash: "h", Began: time.Now()}); err != nil {
		t.Fatal(err)
	}
	held, release := make(chan struct{}), make(chan struct{})
	go func() {
		_ = c.store.Do(context.Background(), func(*store.Tx) error { close(held); <-release; return nil })
	}()
	<-held
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Drop(gone, "l"); err == nil {
		t.Error("it was written")
	}
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	if list, err := c.Logins().All(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%d logins: %v", len(list), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.undropped) != 0 {
		t.Errorf("still to be removed: %v", c.undropped)
	}
}
