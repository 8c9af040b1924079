package deadline

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New()
		passed := func() bool {
			synctest.Wait()
			select {
			case <-d.Wait():
				return true
			default:
				return false
			}
		}
		at := func(after time.Duration) { d.Set(time.Now().Add(after)) }
		if passed() {
			t.Fatal("a new one has passed")
		}
		at(time.Second)
		waiter := d.Wait()
		at(3 * time.Second) // moved on while somebody waits
		time.Sleep(2 * time.Second)
		if passed() {
			t.Error("it passed at its former time")
		}
		time.Sleep(time.Second)
		if !passed() {
			t.Error("it did not pass")
		}
		<-waiter
		d.Set(time.Time{})
		if passed() {
			t.Error("none has passed")
		}
		at(-time.Second)
		if !passed() {
			t.Error("one in the past has not passed")
		}
		at(time.Hour)
		if passed() {
			t.Error("a moved one has passed")
		}
		at(time.Millisecond)
		time.Sleep(time.Millisecond)
		if !passed() {
			t.Error("one brought forward did not pass")
		}
	})
}
