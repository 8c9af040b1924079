package admission

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var start = time.Unix(1_800_000_000, 0)

// drain lets time pass until nobody waits, and returns who went when; all arrive at once.
func drain(t testing.TB, q *Queue, now time.Time) (order []string, at map[string]time.Duration) {
	t.Helper()
	at = make(map[string]time.Duration)
	for q.Len() > 0 {
		next := q.Next(now)
		if next.Before(now) || next.Sub(now) > time.Minute {
			t.Fatalf("next at %v", next.Sub(now))
		}
		now = next
		due := q.Due(now)
		if len(due) == 0 {
			t.Fatalf("nobody is due at %v", now.Sub(start))
		}
		for _, id := range due {
			order = append(order, id)
			at[id] = now.Sub(start)
			q.Arrived(id)
		}
	}
	if !q.Next(now).IsZero() {
		t.Error("next, though nobody waits")
	}
	return order, at
}

func TestIdle(t *testing.T) {
	q := New(300, start)
	if !q.Ask(start, Wake{ID: "a"}) {
		t.Error("the only one waits")
	}
	if _, _, ok := q.Place("a"); ok || q.Len() != 0 {
		t.Error("it is in the queue all the same")
	}
	// One every 4 ms is less than the pace.
	for i := range 1000 {
		if !q.Ask(start.Add(time.Duration(i)*4*time.Millisecond), Wake{ID: fmt.Sprint(i)}) {
			t.Fatalf("wake %d waits", i)
		}
		q.Arrived(fmt.Sprint(i))
	}
}

// Where devices shake hands more slowly than the pace, they are woken as they do; what
// never arrives stands in nobody's way for long.
func TestFlights(t *testing.T) {
	q := New(100, start)
	for i := range 1000 {
		q.Ask(start, Wake{ID: fmt.Sprint(i), Class: Batch})
	}
	now, gone := start, 20
	step := func(d time.Duration, arrivals int) {
		for range arrivals {
			q.Arrived(q.flights.Front().Value.(flight).id)
		}
		now = now.Add(d)
		gone += len(q.Due(now))
	}
	for range 100 {
		step(10*time.Millisecond, 0)
	}
	for range 100 {
		step(10*time.Millisecond, 0)
	}
	if gone != 50 || q.Next(now) != start.Add(flightTime) {
		t.Errorf("%d went without an arrival, the next goes at %v", gone, q.Next(now).Sub(start))
	}
	for range 100 { // fifty arrive in each second
		step(20*time.Millisecond, 1)
	}
	if gone != 150 {
		t.Errorf("%d went for a hundred that arrived", gone)
	}
	q.Arrived("nobody")
	for range 600 { // none arrives any more
		step(10*time.Millisecond, 0)
	}
	if gone <= 200 {
		t.Errorf("%d went: the lost ones stand in the way", gone)
	}
}

// Two thousand at once go at the pace, who waits first first.
func TestPace(t *testing.T) {
	q := New(300, start)
	var want []string
	at := 0
	for i := range 2000 {
		id := fmt.Sprintf("s%04d", i)
		if q.Ask(start, Wake{ID: id, Class: Batch, User: "job"}) {
			at++
		} else {
			want = append(want, id)
		}
	}
	if at != 60 {
		t.Errorf("%d went at once", at)
	}
	position, wait, ok := q.Place("s1999")
	if !ok || position != 1940 || wait.Round(10*time.Millisecond) != 6470*time.Millisecond {
		t.Errorf("the last has place %d and %v", position, wait)
	}
	order, when := drain(t, q, start)
	if !slices.Equal(order, want) {
		t.Error("they did not go in their order")
	}
	if end := when["s1999"]; (end - wait).Abs() > 20*time.Millisecond {
		t.Errorf("the last went after %v, and was told %v", end, wait)
	}
	for i := 600; i+300 < len(order); i++ { // no second has more than the pace
		if when[order[i+300]]-when[order[i]] < 990*time.Millisecond {
			t.Fatalf("300 went within %v", when[order[i+300]]-when[order[i]])
		}
	}
}

func TestOrder(t *testing.T) {
	q := New(10, start)
	for i := range 3 {
		q.Ask(start, Wake{ID: fmt.Sprint("burst", i)})
	}
	ask := func(id string, c Class, user string) { q.Ask(start, Wake{ID: id, Class: c, User: user}) }
	ask("batch 1", Batch, "job")
	ask("moved 1", Moved, "")
	ask("ann 1", Single, "ann")
	for i := 1; i <= 6; i++ {
		ask(fmt.Sprint("script ", i), Single, "script")
	}
	ask("moved 2", Moved, "")
	ask("bob 1", Single, "bob")
	ask("bob 1", Single, "bob") // he waits already
	want := []string{"burst2", "ann 1", "script 1", "script 2", "script 3", "script 4", "bob 1", "moved 1", "moved 2", "batch 1", "script 5", "script 6"}
	for i, id := range want {
		moved := 0
		q.Number(func(string) { moved++ })
		if p, _, ok := q.Place(id); !ok || p != i+1 {
			t.Errorf("%s has place %d, want %d", id, p, i+1)
		}
		if i == 0 && moved == 0 {
			t.Error("numbering told nobody")
		}
	}
	q.Leave("script 2")
	q.Leave("nobody")
	if p, _, _ := q.Place("batch 1"); p != 9 {
		t.Errorf("after one left, the batch has place %d", p)
	}
	order, _ := drain(t, q, start)
	if want = slices.Delete(want, 3, 4); !slices.Equal(order, want) {
		t.Errorf("went as %q, want %q", order, want)
	}
	if len(q.users) != 0 {
		t.Errorf("users are left: %v", q.users)
	}
}

// A thousand behind one address take their share, and the places between are others'.
func TestShares(t *testing.T) {
	q := New(300, start)
	mall := netip.MustParseAddr("203.0.113.7")
	for i := range 1000 {
		q.Ask(start, Wake{ID: fmt.Sprint("mall ", i), Class: Moved, From: mall})
	}
	for i := range 280 {
		q.Ask(start, Wake{ID: fmt.Sprint("other ", i), Class: Moved, From: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})})
	}
	order, when := drain(t, q, start)
	last := time.Duration(0)
	for i := range 280 {
		last = max(last, when[fmt.Sprint("other ", i)])
	}
	if last > 1100*time.Millisecond {
		t.Errorf("the others went after %v: the mall's were before them", last)
	}
	mallBy := 0
	for _, id := range order {
		if when[id] <= last && id[0] == 'm' {
			mallBy++
		}
	}
	if mallBy > 30 {
		t.Errorf("%d of the mall's went in the first second", mallBy)
	}
	// Alone it is not held back: the node has room.
	if end := when["mall 999"]; end > 4500*time.Millisecond {
		t.Errorf("the mall's last went after %v", end)
	}
}

// The addresses that are remembered are bounded, whatever comes.
func TestManyAddresses(t *testing.T) {
	q := New(1_000_000, start)
	now := start
	for i := range 2 * maxShares {
		now = now.Add(time.Microsecond * 2)
		q.Ask(now, Wake{ID: fmt.Sprint(i), From: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})})
		q.Due(now)
	}
	if len(q.shares) > maxShares {
		t.Errorf("%d addresses", len(q.shares))
	}
}

// A clock that goes back neither stops the queue nor opens it.
func TestClock(t *testing.T) {
	q := New(10, start)
	for i := range 10 {
		q.Ask(start, Wake{ID: fmt.Sprint(i)})
	}
	back := start.Add(-time.Hour)
	if n := len(q.Due(back)); n != 0 {
		t.Errorf("%d go", n)
	}
	if d := q.Next(back).Sub(back); d <= 0 || d > time.Second {
		t.Errorf("next in %v", d)
	}
}

func BenchmarkIdle(b *testing.B) {
	q := New(1<<30, start)
	w := Wake{ID: "s", User: "ann", From: netip.MustParseAddr("203.0.113.7")}
	now := start
	for b.Loop() {
		now = now.Add(time.Millisecond)
		q.Ask(now, w)
	}
}

func BenchmarkTenThousand(b *testing.B) {
	for b.Loop() {
		q := New(300, start)
		for i := range 10_000 {
			q.Ask(start, Wake{ID: fmt.Sprint(i), Class: Batch, From: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})})
		}
		drain(b, q, start)
	}
}
