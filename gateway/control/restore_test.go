package control

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
)

// A control that was off over the night finds many sessions whose end has come: it ends
// them once it has read all there is.
func TestRestoreOfEnded(t *testing.T) {
	const many = 300
	dsn := "file:" + filepath.Join(t.TempDir(), "control.db")
	db, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	key, opened := identity(t).Key().String(), time.Now().Add(-9*time.Hour)
	err = db.Do(t.Context(), func(tx *store.Tx) (err error) {
		for n := range many {
			id := fmt.Sprintf("kiosk-%d", n)
			s := store.Session{
				ID: fmt.Sprintf("session-%d", n), Device: id, Node: "wg-1", State: "connected", Rev: 1, Installed: 1, Acked: 1, Ready: true, Proved: true,
				Prekey: keys.NewPrivateKey().Public().String(), Address: fmt.Sprintf("10.166.%d.%d", n/200, n%200+1), Lifetime: time.Hour, Opened: opened, Ends: opened.Add(time.Hour),
			}
			err = errors.Join(err, tx.PutDevice(store.Device{ID: id, Key: key, Gen: 3, Created: opened}), tx.PutSession(s), tx.AddGrant(s.ID, 1, "wg-1", "grant", opened))
		}
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	c, err := Open(t.Context(), dsn, &Config{Store: keys.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, "all are over", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.sessions) == 0
	})
	s, err := c.Client(User{Name: "ann", Role: Admin}).Session(t.Context(), "session-0")
	if err != nil || s.State != client.Closed || s.Code != "expired" {
		t.Errorf("it is %+v, %v", s, err)
	}
}
