package relay

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// most is the random source at its end, half in the middle.
func most(d time.Duration) time.Duration { return d - 1 }
func half(d time.Duration) time.Duration { return d / 2 }

func TestKeeperOrder(t *testing.T) {
	for _, tc := range []struct {
		name string
		k    keeper
		want []int
	}{
		{"start", keeper{relays: 3}, []int{0, 1, 2}},
		{"lost at the second: there again, for the other end is there", keeper{relays: 3, at: 1}, []int{1, 2, 0}},
		{"leaving: anywhere else first", keeper{relays: 3, at: 0, state: leaving}, []int{1, 2, 0}},
		{"leaving the only one", keeper{relays: 1, state: leaving}, []int{0}},
		{"alone at the first", keeper{relays: 3, state: alone}, []int{1, 2}},
		{"alone at the first again", keeper{relays: 3, state: alone, moves: 2}, []int{2, 1}},
		{"alone elsewhere", keeper{relays: 3, at: 2, state: alone, moves: 1}, []int{0, 1}},
		{"let wait no longer at the first", keeper{relays: 3, seeks: true}, []int{1, 2, 0}},
		{"let wait no longer elsewhere", keeper{relays: 3, at: 1, seeks: true}, []int{0, 2, 1}},
		{"let wait no longer at the only one", keeper{relays: 1, seeks: true}, []int{0}},
		{"alone at the only one", keeper{relays: 1, state: alone}, nil},
	} {
		if got := tc.k.order(); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// A relay that lets nobody wait for ever sends an end on in its search.
func TestKeeperSeeks(t *testing.T) {
	now := time.Unix(1000, 0)
	k := keeper{relays: 2, rnd: half}
	k.made(now, 0)
	k.lost(now, false)
	if got := k.order(); !slices.Equal(got, []int{1, 0}) {
		t.Errorf("after the relay's word: %v", got)
	}
	k.made(now, 0)
	k.lost(now, true) // its own road broke
	if got := k.order(); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("torn: %v", got)
	}
}

func TestKeeperRetries(t *testing.T) {
	now := time.Unix(1000, 0)
	k := keeper{relays: 1, rnd: most}
	k.made(now, 0)
	k.peer(now, true)
	if !k.due.IsZero() {
		t.Error("a paired leg has a successor")
	}
	k.lost(now, false)
	var waits []time.Duration
	for range 8 {
		waits = append(waits, k.due.Sub(now).Round(10*time.Millisecond))
		now = k.due
		k.failed(now, false)
	}
	ms := time.Millisecond
	if want := []time.Duration{500 * ms, 500 * ms, 1000 * ms, 2000 * ms, 4000 * ms, 4000 * ms, 4000 * ms, 4000 * ms}; !slices.Equal(waits, want) {
		t.Errorf("waits %v, want %v", waits, want)
	}
	// A relay that takes no more gets fewer calls, until it is not there at all.
	waits = nil
	for _, full := range []bool{true, true, true, true, true, true, false} {
		k.failed(now, full)
		waits = append(waits, k.due.Sub(now).Round(10*time.Millisecond))
	}
	if want := []time.Duration{2000 * ms, 4000 * ms, 8000 * ms, 16000 * ms, 16000 * ms, 16000 * ms, 4000 * ms}; !slices.Equal(waits, want) {
		t.Errorf("waits for room %v, want %v", waits, want)
	}
	// Later tokens are tried at once.
	if k.renewed(now, 2); !k.due.Equal(now) {
		t.Errorf("after a renewal in %v", k.due.Sub(now))
	}
	// A relay that keeps hanging up on one who is alone is asked less and less often.
	var last time.Duration
	for i := range 6 {
		k.made(now, 0)
		k.lost(now, false)
		if wait := k.due.Sub(now); i > 1 && wait < last {
			t.Errorf("wait %d: %v after %v", i, wait, last)
		} else {
			last = wait
		}
	}
}

// Six replacements within a minute are a clone: a leg that is torn again and again
// waits rather than be taken for one.
func TestKeeperTorn(t *testing.T) {
	k := keeper{relays: 1, rnd: func(time.Duration) time.Duration { return 0 }}
	now := time.Unix(1000, 0)
	var made []time.Time
	for range 20 {
		made = append(made, now)
		k.made(now, 0)
		k.peer(now, true)
		now = now.Add(time.Second)
		k.lost(now, true)
		now = k.due
	}
	for i := 6; i < len(made); i++ {
		if d := made[i].Sub(made[i-6]); d < time.Minute {
			t.Errorf("7 legs within %v", d)
		}
	}
}

// A relay that takes each leg to send it away is not called again and again.
func TestKeeperHastyDrains(t *testing.T) {
	now := time.Unix(1000, 0)
	k := keeper{relays: 1, rnd: func(time.Duration) time.Duration { return 0 }}
	calls := 0
	for end := now.Add(time.Minute); now.Before(end); calls++ {
		k.made(now, 0)
		k.peer(now, true)
		k.drain(now, 0)
		now = k.due
	}
	if calls > 30 {
		t.Errorf("%d calls in a minute", calls)
	}
	now = now.Add(drainCalm)
	k.made(now, 0)
	k.drain(now, time.Second)
	if k.due.After(now) {
		t.Errorf("after calm: in %v", k.due.Sub(now))
	}
}

func TestKeeperDrains(t *testing.T) {
	now := time.Unix(1000, 0)
	k := keeper{relays: 2, rnd: most}
	k.made(now, 0)
	k.peer(now, true)
	k.drain(now, 5*time.Second)
	if d := k.due.Sub(now); d <= 0 || d > 2500*time.Millisecond || !slices.Equal(k.order(), []int{1, 0}) {
		t.Errorf("in %v at %v", d, k.order())
	}
	due := k.due
	k.drain(now, time.Hour)
	k.peer(now, false)
	if !k.due.Equal(due) || k.state != leaving {
		t.Error("a leg that leaves changed its mind")
	}
	k.failed(now, false)
	k.lost(now.Add(time.Second), false) // the relay closed it
	if d := k.due.Sub(now.Add(time.Second)); d > firstRetry {
		t.Errorf("next in %v", d)
	}
}

// Two ends that reach some relays each meet if there is one that both reach, whatever
// they lose on the way.
func TestKeepersMeet(t *testing.T) {
	reach := []struct{ relays, a, b int }{ // bits
		{1, 0b1, 0b1}, {2, 0b11, 0b11}, {2, 0b11, 0b10}, {2, 0b10, 0b11}, {2, 0b10, 0b10}, {3, 0b101, 0b110}, {3, 0b110, 0b011}, {3, 0b111, 0b100},
	}
	for _, tc := range reach {
		t.Run(fmt.Sprintf("%d_%b_%b", tc.relays, tc.a, tc.b), func(t *testing.T) {
			var all time.Duration
			for seed := range uint64(200) {
				r := rand.New(rand.NewPCG(seed, 1))
				worst := meet(tc.relays, [2]int{tc.a, tc.b}, r)
				all = max(all, worst)
				if worst > 10*time.Minute {
					t.Fatalf("seed %d: apart for %v", seed, worst)
				}
			}
			t.Logf("apart for %v at most", all)
		})
	}
}

// meet simulates ends that begin within a minute of one another, are torn once they
// have met, and says how long they were apart at most.
func meet(relays int, reach [2]int, r *rand.Rand) (worst time.Duration) {
	now := time.Unix(0, 0)
	ends := [2]*keeper{}
	var stands [2]int // where; -1: nowhere
	for i := range ends {
		ends[i] = &keeper{relays: relays, rnd: func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }}
		ends[i].due = now.Add(time.Duration(r.Int64N(int64(time.Minute))))
		stands[i] = -1
	}
	const step = 50 * time.Millisecond
	since, meetings := now, 0
	var aloneSince [2]time.Time
	for meetings < 5 {
		now = now.Add(step)
		if now.Sub(since) > time.Hour {
			return now.Sub(since)
		}
		for i, k := range ends {
			if k.state == alone && now.Sub(aloneSince[i]) > 30*time.Second {
				stands[i] = -1
				k.lost(now, false)
			}
			if k.due.IsZero() || now.Before(k.due) {
				continue
			}
			at := slices.IndexFunc(k.order(), func(n int) bool { return reach[i]>>n&1 == 1 })
			if at < 0 {
				k.failed(now, false)
				continue
			}
			stands[i], aloneSince[i] = k.order()[at], now
			k.made(now, stands[i])
		}
		together := stands[0] >= 0 && stands[0] == stands[1]
		for _, k := range ends {
			k.peer(now, together)
		}
		if together {
			meetings++
			worst = max(worst, now.Sub(since))
			since = now
			one := r.IntN(2)
			stands[one] = -1
			ends[one].lost(now, r.IntN(2) == 0)
			if r.IntN(2) == 0 { // it comes back elsewhere
				ends[one].at = (ends[one].at + 1) % relays
			}
			ends[1-one].peer(now, false)
			aloneSince[1-one] = now
		}
	}
	return worst
}

func FuzzKeeper(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte{0, 3, 3, 0, 4, 6, 5, 0, 2, 1, 5, 5, 5, 5, 5, 5, 0, 7})
	f.Fuzz(func(t *testing.T, events []byte) {
		now := time.Unix(1000, 0)
		k := keeper{relays: 3, rnd: half, due: now}
		for _, e := range events {
			now = now.Add(time.Duration(e) * 20 * time.Millisecond)
			stands := k.state != none
			switch e % 8 {
			case 0:
				if order := k.order(); !k.due.IsZero() && len(order) > 0 {
					k.made(now, order[int(e/8)%len(order)])
				}
			case 1, 2:
				k.peer(now, e%8 == 1)
			case 3:
				k.drain(now, time.Duration(e)*time.Second)
			case 4, 5:
				if stands {
					k.lost(now, e%8 == 4)
				}
			case 6:
				if !k.due.IsZero() {
					k.failed(now, e/8%2 == 1)
				}
			case 7:
				k.renewed(now, 1+int(e/8)%4)
			}
			if k.state == none && k.due.IsZero() {
				t.Fatal("without a leg, and none is to come")
			}
			if !k.due.IsZero() && k.due.After(now.Add(5*time.Minute)) {
				t.Fatalf("the next leg in %v", k.due.Sub(now))
			}
			if k.at < 0 || k.at >= k.relays {
				t.Fatalf("at relay %d of %d", k.at, k.relays)
			}
			for _, n := range k.order() {
				if n < 0 || n >= k.relays {
					t.Fatalf("relay %d of %d", n, k.relays)
				}
			}
		}
	})
}
