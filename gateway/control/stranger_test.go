package control

import (
	"testing"

	"github.com/boothwire/boothwire/signaling"
)

// A device that connects before its key is registered is known the moment that it
// is: what it signed before counts then.
func TestDeviceHeardBeforeItIsRegistered(t *testing.T) {
	w := newWorld(t, nil)
	b := w.booth("kiosk-9", false).serve()
	eventually(t, "control hears a stranger", func() bool {
		d, err := w.admin.Device(t.Context(), "kiosk-9")
		return err == nil && d.Key.IsZero() && d.Prekeys == 0
	})
	if _, err := w.admin.AddDevice(t.Context(), "kiosk-9", b.keys.Key()); err != nil {
		t.Fatal(err)
	}
	b.known()
}

// One whose message was signed with another key than the registered one is shown as
// foreign, and nothing more.
func TestStrangerWithAnotherKeyStaysForeign(t *testing.T) {
	w := newWorld(t, nil)
	w.booth("kiosk-9", false).serve()
	eventually(t, "control hears a stranger", func() bool {
		_, err := w.admin.Device(t.Context(), "kiosk-9")
		return err == nil
	})
	other := w.booth("kiosk-9", false)
	if _, err := w.admin.AddDevice(t.Context(), "kiosk-9", other.keys.Key()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other key is shown", func() bool {
		d, err := w.admin.Device(t.Context(), "kiosk-9")
		return err == nil && d.Foreign != "" && d.Prekeys == 0
	})
}

func TestStrangersKeepAFewMessages(t *testing.T) {
	var s strangers
	s.init()
	line := signaling.RideOnFleet(nil)
	for i := range keptMessages + 10 {
		id := "d" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26))
		s.heard(id, stranger{last: heard{line: line}})
		s.heard(id, stranger{}) // a will keeps what was kept
	}
	kept := 0
	for _, v := range s.seen {
		if v.last.line != nil {
			kept++
		}
	}
	if kept != s.kept || kept > keptMessages || kept < keptMessages/2 {
		t.Errorf("%d messages kept, %d counted, at most %d", kept, s.kept, keptMessages)
	}
	for id := range s.seen {
		s.forget(id)
	}
	if s.kept != 0 {
		t.Errorf("%d messages counted of nobody", s.kept)
	}
}
