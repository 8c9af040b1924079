package reach

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTurn(t *testing.T) {
	const patience = time.Minute
	a, b, c := [32]byte{'a'}, [32]byte{'b'}, [32]byte{'c'}
	synctest.Test(t, func(t *testing.T) {
		late := make(chan [32]byte, 10)
		now := Turn{Key: a}
		// to has the session name a key; want is what then has a peer, gone what has none any more.
		to := func(wanted [32]byte, gone *[32]byte, want ...[32]byte) {
			t.Helper()
			next, dropped := now.To(wanted, patience, func(key [32]byte) { late <- key })
			if (dropped == nil) != (gone == nil) || gone != nil && *dropped != *gone {
				t.Errorf("%c is dropped, want %c", dropped, gone)
			}
			if got := next.Keys(); len(got) != len(want) || got[0] != want[0] || len(got) == 2 && got[1] != want[1] {
				t.Errorf("the keys are %c, want %c", got, want)
			}
			now = next
		}
		to(a, nil, a)
		to(b, nil, a, b)
		time.Sleep(patience / 2)
		to(b, nil, a, b) // named again: the patience goes on
		time.Sleep(patience/2 - time.Second)
		if len(late) > 0 {
			t.Error("no patience")
		}
		time.Sleep(2 * time.Second)
		if key := <-late; key != b {
			t.Errorf("%c is late", key)
		}
		if before, ok := now.Done(b); !ok || before != a || now.Key != b || now.Next != nil {
			t.Errorf("done: %c, %v, %+v", before, ok, now)
		}
		to(c, nil, b, c)
		to(a, &c, b, a) // several in turn
		to(b, &a, b)    // and back
		to(c, nil, b, c)
		if _, ok := now.Done(a); ok {
			t.Error("a change that was given up is done")
		}
		if before, ok := now.Done(c); !ok || before != b {
			t.Errorf("done: %c, %v", before, ok)
		}
		if _, ok := now.Done(c); ok {
			t.Error("done twice")
		}
		to(a, nil, c, a)
		now.Stop()
		time.Sleep(2 * patience)
		if len(late) > 0 {
			t.Errorf("%c is late, after all", <-late)
		}
	})
}
