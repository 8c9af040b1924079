package feed

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// watcher keeps what it was told, as a page does.
type watcher struct {
	groups []string
	at     uint64
	knows  map[string]string
	gone   []string
	resets int
}

type told struct {
	Devices []struct{ ID, V string }
	Gone    []string
	Reset   bool
	More    bool
}

func (w *watcher) look(t *testing.T, l *Log) {
	t.Helper()
	events := l.Since(w.at, w.groups)
	for i, e := range events {
		var v told
		if err := json.Unmarshal(e, &v); err != nil {
			t.Fatalf("%v: %s", err, e)
		}
		if v.Devices == nil || v.Gone == nil || v.More != (i < len(events)-1) || len(v.Devices) > MaxPage || len(v.Gone) > MaxPage {
			t.Fatalf("event %d of %d: %.200s", i, len(events), e)
		}
		if v.Reset {
			w.knows = make(map[string]string)
			w.resets++
		}
		for _, d := range v.Devices {
			w.knows[d.ID] = d.V
		}
		for _, id := range v.Gone {
			delete(w.knows, id)
			w.gone = append(w.gone, id)
		}
	}
	w.at = l.Version()
}

type fleet struct {
	log   *Log
	group map[string]string
	value map[string]string
	was   map[departure]bool // ever
}

func newFleet(version uint64) *fleet {
	return &fleet{New(version), make(map[string]string), make(map[string]string), make(map[departure]bool)}
}

func (f *fleet) put(id, group, value string) {
	f.group[id], f.value[id] = group, value
	f.was[departure{id, group}] = true
	f.log.Put(id, group, fmt.Appendf(nil, `{"id":%q,"v":%q}`, id, value))
}

func (f *fleet) drop(id string) {
	delete(f.group, id)
	delete(f.value, id)
	f.log.Drop(id)
}

func (f *fleet) seen(groups []string) map[string]string {
	m := make(map[string]string)
	for id, g := range f.group {
		if len(groups) == 0 || slices.Contains(groups, g) {
			m[id] = f.value[id]
		}
	}
	return m
}

// Whatever happens, and however seldom he looks, who follows the log knows what he may
// see as it is, and nothing of what he may not.
func TestFollow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	f := newFleet(1000)
	groups := []string{"", "a", "b", "c"}
	all := []*watcher{{}, {groups: []string{"a"}}, {groups: []string{"a", "b"}}, {groups: []string{"none"}}, {groups: []string{""}}}
	for round := range 3000 {
		f.log.Next()
		for range r.IntN(4) {
			id := fmt.Sprintf("kiosk-%02d", r.IntN(40))
			if r.IntN(4) == 0 {
				f.drop(id)
			} else {
				f.put(id, groups[r.IntN(len(groups))], fmt.Sprint(round))
			}
		}
		for i, w := range all {
			if r.IntN(i+1) > 0 {
				continue // he looks later
			}
			w.look(t, f.log)
			if got, want := fmt.Sprint(w.knows), fmt.Sprint(f.seen(w.groups)); got != want {
				t.Fatalf("round %d: %v knows %s, want %s", round, w.groups, got, want)
			}
		}
	}
	for _, w := range all {
		for _, id := range w.gone {
			if len(w.groups) > 0 && !slices.ContainsFunc(w.groups, func(g string) bool { return f.was[departure{id, g}] }) {
				t.Errorf("%v hears of %s, which was never his to see", w.groups, id)
			}
		}
		if w.resets != 1 {
			t.Errorf("%v began anew %d times", w.groups, w.resets)
		}
	}
}

func TestEachDeviceOnce(t *testing.T) {
	f := newFleet(7)
	w := &watcher{}
	w.look(t, f.log)
	at := f.log.Version()
	for n := range 100 {
		f.log.Next()
		f.put("kiosk-1", "", fmt.Sprint(n))
		f.put("kiosk-2", "", fmt.Sprint(n))
	}
	events := f.log.Since(at, nil)
	if len(events) != 1 || strings.Count(string(events[0]), "kiosk-1") != 1 || !strings.Contains(string(events[0]), `"v":"99"`) {
		t.Errorf("%s", events)
	}
	if again := f.log.Since(at, nil); &again[0][0] != &events[0][0] {
		t.Error("made twice for two who miss the same")
	}
	if got := f.log.Since(f.log.Version(), nil); got != nil {
		t.Errorf("told who misses nothing: %s", got)
	}
}

func TestAnew(t *testing.T) {
	f := newFleet(100)
	if events := f.log.Since(0, nil); len(events) != 1 || string(events[0]) != `{"devices":[],"gone":[],"reset":true}` {
		t.Errorf("of nothing: %s", events)
	}
	f.log.Next()
	for n := range 2*MaxPage + 1 {
		f.put(fmt.Sprintf("kiosk-%05d", n), "", "x")
	}
	for what, after := range map[string]uint64{"no version": 0, "an older log's": 99, "another's": 1 << 40} {
		events := f.log.Since(after, nil)
		if len(events) != 3 || !strings.Contains(string(events[0]), `"reset":true,"more":true`) || strings.Contains(string(events[1]), `"reset":true`) ||
			strings.Contains(string(events[2]), "more") || !strings.Contains(string(events[2]), "kiosk-02000") {
			t.Errorf("%s: %d events", what, len(events))
		}
	}
	// Of too many that went the earliest are forgotten, and who looks too late begins anew.
	w := &watcher{}
	w.look(t, f.log)
	for n := range maxLeft + 10 {
		id := fmt.Sprintf("gone-%05d", n)
		f.log.Next()
		f.put(id, "", "x")
		f.drop(id)
	}
	w.look(t, f.log)
	if w.resets != 2 || len(w.knows) != 2*MaxPage+1 {
		t.Errorf("%d resets, %d devices", w.resets, len(w.knows))
	}
	if n := len(f.log.left.at); n > maxLeft {
		t.Errorf("%d departures are kept", n)
	}
}

// Who knows no version costs no more than another who knows none, whichever he names: a
// fleet as one set of bytes, not as many as there are numbers.
func TestUnknownVersions(t *testing.T) {
	l := New(1000)
	l.Put("a", "north", []byte(`{"id":"a"}`))
	first := l.Since(0, nil)
	for _, after := range []uint64{1, 2, 999, 1001, 1 << 60} {
		if again := l.Since(after, nil); len(again) != 1 || &again[0][0] != &first[0][0] {
			t.Errorf("after %d: %s", after, again)
		}
	}
	if len(l.cache) != 1 {
		t.Errorf("%d answers are kept", len(l.cache))
	}
}

// Whoever asks may name any version, and read his answer slowly: what he gets is one of
// few answers, which all share.
func TestAnswersAreFew(t *testing.T) {
	f := newFleet(1_000_000)
	for i := range 3000 {
		f.log.Next()
		f.put(fmt.Sprintf("kiosk-%04d", i%1000), "", fmt.Sprint(i))
	}
	now := f.log.Version()
	given := make(map[*byte]bool)
	for after := now - 4000; after < now+4000; after++ {
		if events := f.log.Since(after, nil); len(events) > 0 {
			given[&events[0][0]] = true
		}
	}
	for _, after := range []uint64{0, 1, 1 << 63, ^uint64(0)} {
		given[&f.log.Since(after, nil)[0][0]] = true
	}
	if len(given) > maxCached {
		t.Errorf("%d answers at one version", len(given))
	}
	// One who missed little is told little.
	var v told
	if events := f.log.Since(now-3, nil); len(events) != 1 || json.Unmarshal(events[0], &v) != nil || len(v.Devices) != 3 || v.Reset {
		t.Errorf("who missed three: %.300s", events)
	}
}
