package quota

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestEach(t *testing.T) {
	var e Each
	for i, want := range []bool{true, true, false} {
		if e.Enter("ann", 2) != want {
			t.Errorf("enter %d is not %v", i, want)
		}
	}
	if !e.Enter("bob", 2) {
		t.Error("one takes another's place")
	}
	e.Leave("ann")
	if !e.Enter("ann", 2) || e.Enter("ann", 2) {
		t.Error("a place that is free again is not there once")
	}
	e.Leave("ann")
	e.Leave("ann")
	e.Leave("bob")
	if len(e.of) != 0 {
		t.Errorf("kept %v", e.of)
	}
}

func TestEachAtOnce(t *testing.T) {
	var e Each
	var in, most atomic.Int32
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 200 {
				if !e.Enter("ann", 3) {
					continue
				}
				if n := in.Add(1); n > most.Load() {
					most.Store(n)
				}
				in.Add(-1)
				e.Leave("ann")
			}
		})
	}
	work.Wait()
	if most.Load() > 3 || len(e.of) != 0 {
		t.Errorf("%d at a time, kept %v", most.Load(), e.of)
	}
}
