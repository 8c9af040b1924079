package pool

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func TestRanges(t *testing.T) {
	for _, tc := range []struct {
		prefix                 string
		device, operator, node string
		devices                int
	}{
		{"10.166.0.0/16", "10.166.0.1", "10.166.192.0", "10.166.255.0", 49151},
		{"10.1.2.0/24", "10.1.2.1", "10.1.2.192", "10.1.2.224", 191},
		{"100.64.0.0/10", "100.64.0.1", "100.112.0.0", "100.127.255.0", 3145727},
	} {
		p, err := New(netip.MustParsePrefix(tc.prefix))
		if err != nil {
			t.Fatal(err)
		}
		for kind, want := range map[Kind]string{Device: tc.device, Operator: tc.operator, Node: tc.node} {
			if a, err := p.Take(kind, "x", time.Now()); err != nil || a.Addr.String() != want {
				t.Errorf("%s %s: %v, %v, want %s", tc.prefix, kind, a.Addr, err, want)
			}
		}
		if r := p.ranges[Device]; int(r.last-r.first+1) != tc.devices {
			t.Errorf("%s: %d devices, want %d", tc.prefix, r.last-r.first+1, tc.devices)
		}
	}
	for _, bad := range []string{"10.0.0.0/7", "10.0.0.0/25", "fd00::/16"} {
		if _, err := New(netip.MustParsePrefix(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestStickyAndRest(t *testing.T) {
	p, _ := New(netip.MustParsePrefix("10.1.2.0/24"))
	now := time.Now()
	first, _ := p.Take(Device, "a", now)
	p.Release(Device, "a", now)
	for i := range 190 {
		a, err := p.Take(Device, fmt.Sprint(i), now)
		if err != nil {
			t.Fatal(i, err)
		}
		if a.Addr == first.Addr {
			t.Fatalf("address of a given to %d", i)
		}
	}
	if _, err := p.Take(Device, "b", now.Add(Rest(Device)-time.Second)); !exhausted(err) {
		t.Fatalf("an address at rest was given: %v", err)
	}
	if again, err := p.Take(Device, "a", now.Add(time.Hour)); err != nil || again.Addr != first.Addr {
		t.Fatalf("a got %v, %v, had %v", again.Addr, err, first.Addr)
	}
	p.Release(Device, "a", now.Add(time.Hour))
	b, err := p.Take(Device, "b", now.Add(time.Hour+Rest(Device)))
	if err != nil || b.Addr != first.Addr {
		t.Fatalf("b got %v, %v", b.Addr, err)
	}
	if _, ok := p.Of(Device, "a"); ok {
		t.Error("a still has it")
	}
	if _, err := p.Take(Device, "a", now.Add(1000*time.Hour)); !exhausted(err) {
		t.Errorf("an address in use was given: %v", err)
	}
}

func TestLoad(t *testing.T) {
	p, _ := New(netip.MustParsePrefix("10.1.2.0/24"))
	now := time.Now()
	p.Load(Address{netip.MustParseAddr("10.1.2.1"), Device, "a", now}, false)
	p.Load(Address{netip.MustParseAddr("10.9.2.1"), Device, "far", now}, true)
	p.Load(Address{netip.MustParseAddr("10.1.2.2"), Node, "n", now}, true)
	if a, _ := p.Take(Device, "b", now); a.Addr.String() != "10.1.2.2" {
		t.Errorf("b got %v", a.Addr)
	}
	if a, ok := p.Of(Device, "a"); !ok || a.String() != "10.1.2.1" {
		t.Errorf("a has %v", a)
	}
	if _, ok := p.Of(Device, "far"); ok {
		t.Error("an address outside of the pool was taken over")
	}
}

func exhausted(err error) bool { return errors.As(err, new(*Exhausted)) }

// stay is how long somebody has an address.
type stay struct {
	until  time.Time
	holder string
}

type stays []stay

func (s stays) Len() int           { return len(s) }
func (s stays) Less(i, j int) bool { return s[i].until.Before(s[j].until) }
func (s stays) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *stays) Push(v any)        { *s = append(*s, v.(stay)) }
func (s *stays) Pop() any {
	v := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return v
}

// A day of a fleet that opens a hundred thousand sessions in ten hours, half an hour long on
// average: a /16 has room for it, and nobody gets what has not rested.
func TestDay(t *testing.T) {
	const opens, hours = 100_000, 10
	p, _ := New(netip.MustParsePrefix("10.166.0.0/16"))
	r := rand.New(rand.NewPCG(1, 2))
	given := make(map[netip.Addr]time.Time)
	var open stays
	least, reused := Usage{Size: 1 << 30}, 0
	leave := func(now time.Time) {
		for len(open) > 0 && !open[0].until.After(now) {
			s := heap.Pop(&open).(stay)
			a, ok := p.Release(Operator, s.holder, s.until)
			if !ok {
				t.Fatalf("%s had no address", s.holder)
			}
			given[a.Addr] = s.until
		}
	}
	now := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
	for i := range opens {
		now = now.Add(time.Duration(r.ExpFloat64() * float64(hours*time.Hour/opens)))
		leave(now)
		name := fmt.Sprint(i)
		a, err := p.Take(Operator, name, now)
		if err != nil {
			t.Fatalf("open %d: %v", i, err)
		}
		if at, ok := given[a.Addr]; ok {
			if reused++; now.Sub(at) < Rest(Operator) {
				t.Fatalf("%v was given after %v", a.Addr, now.Sub(at))
			}
			delete(given, a.Addr)
		}
		heap.Push(&open, stay{now.Add(time.Duration(r.ExpFloat64() * float64(30*time.Minute))), name})
		if i%1000 != 999 {
			continue
		}
		if u := p.Usage(Operator, now); u.Free() < least.Free() {
			least = u
		}
	}
	t.Logf("at the worst: %+v, %d free; %d given again", least, least.Free(), reused)
	if least.Free() < least.Size/10 || reused < opens/2 {
		t.Errorf("%d free at the worst, %d given again", least.Free(), reused)
	}
}

func TestExhausted(t *testing.T) {
	p, _ := New(netip.MustParsePrefix("10.1.2.0/24"))
	now := time.Now()
	for i := range 32 {
		if _, err := p.Take(Operator, fmt.Sprint(i), now); err != nil {
			t.Fatal(i, err)
		}
	}
	for i := range 3 {
		p.Release(Operator, fmt.Sprint(i), now.Add(time.Duration(2-i)*time.Minute))
	}
	_, err := p.Take(Operator, "more", now.Add(5*time.Minute))
	var e *Exhausted
	if !errors.As(err, &e) || e.Busy != 29 || e.Resting != 3 || e.Next != Rest(Operator)-5*time.Minute {
		t.Fatalf("%v, %+v", err, e)
	}
	if want := "pool: no address is left for another operator: 29 in use, 3 at rest, the next for 15m0s more"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	a, err := p.Take(Operator, "more", now.Add(Rest(Operator)))
	if err != nil || a.Addr.String() != "10.1.2.194" {
		t.Errorf("the longest at rest: %v, %v", a.Addr, err)
	}
	if u := p.Usage(Operator, now.Add(Rest(Operator)+time.Minute)); u != (Usage{32, 30, 1}) || u.Free() != 1 {
		t.Errorf("%+v", u)
	}
}

// What was at rest for a day goes to the next operator before what nobody ever had, so
// that a large pool is not remembered as a whole.
func TestAmple(t *testing.T) {
	p, _ := New(netip.MustParsePrefix("10.0.0.0/8"))
	now := time.Now()
	for i := range 100 {
		name := fmt.Sprint(i)
		p.Take(Operator, name, now)
		p.Release(Operator, name, now)
		now = now.Add(time.Hour)
	}
	if n := len(p.held); n > 25 {
		t.Errorf("%d addresses are remembered", n)
	}
}

func TestReturnAndDeny(t *testing.T) {
	p, _ := New(netip.MustParsePrefix("10.1.2.0/24"))
	now := time.Now()
	take := func(name string) string {
		a, err := p.Take(Operator, name, now)
		if err != nil {
			t.Fatal(err)
		}
		return a.Addr.String()
	}
	take("a")
	p.Return(Operator, "a")
	if got := take("b"); got != "10.1.2.192" {
		t.Errorf("b got %s", got)
	}
	p.Deny(netip.MustParseAddr("10.1.2.192"), now)
	if got := take("b"); got != "10.1.2.193" {
		t.Errorf("b got %s", got)
	}
	// Given back first, and denied then, as an open does that finds it taken.
	p.Return(Operator, "b")
	p.Deny(netip.MustParseAddr("10.1.2.193"), now)
	if got := take("b"); got != "10.1.2.194" {
		t.Errorf("b got %s", got)
	}
	if u := p.Usage(Operator, now); u != (Usage{32, 1, 2}) {
		t.Errorf("%+v", u)
	}
	if _, ok := p.Release(Operator, "b", now); !ok {
		t.Error("b had none")
	}
	if _, ok := p.Release(Operator, "b", now.Add(time.Hour)); ok {
		t.Error("given up twice")
	}
}

func BenchmarkTakeAllUsed(b *testing.B) {
	p, _ := New(netip.MustParsePrefix("10.166.0.0/16"))
	now := time.Now()
	for i := 0; b.Loop(); i++ {
		name := fmt.Sprint(i)
		if _, err := p.Take(Operator, name, now); err != nil {
			b.Fatal(err)
		}
		p.Release(Operator, name, now)
		now = now.Add(5 * time.Second)
	}
}
