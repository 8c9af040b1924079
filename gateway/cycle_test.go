package gateway

import (
	"runtime"
	"testing"
	"time"
)

// 200 sessions come and go, every tenth with a device that speaks, and leave
// nothing in the node.
func TestCyclesLeaveNothing(t *testing.T) {
	a := newAuthority(t, "test")
	n, _ := newNode(t, a, nil)
	cycle := func(i int) {
		p := newPair(n, i%250)
		p.grant.Session = time.Duration(i).String()
		admit(t, n, a, &p.grant)
		if i%10 == 0 {
			device := newEnd(t, n.FarEnd(), p.device, p.devAddr())
			if !device.ping(n.FarEnd().Proof, patience) {
				t.Error("no proof")
			}
			device.down()
		}
		if err := n.End(t.Context(), p.grant.Session); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		cycle(i)
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var goroutines int
	eventually(t, "quiet", func() bool {
		goroutines = runtime.NumGoroutine()
		time.Sleep(50 * time.Millisecond)
		return goroutines == runtime.NumGoroutine()
	})
	before := heap()
	for i := range 200 {
		cycle(10 + i)
	}
	eventually(t, "goroutines gone", func() bool { return runtime.NumGoroutine() <= goroutines })
	// What is remembered of a closed session is some hundred bytes; a peer of
	// wireguard-go that stays would be 26 KB.
	eventually(t, "memory as before", func() bool { return heap() <= before+200*4096 })
	if s := n.Stats(); s.Sessions != 0 || s.Peers != 0 || s.Closed != 210 || s.Admitted != 210 || s.Ended != 210 {
		t.Errorf("stats %+v", s)
	}
}
