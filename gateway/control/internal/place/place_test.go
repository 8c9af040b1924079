package place

import (
	"fmt"
	"math"
	"testing"
)

func TestChoose(t *testing.T) {
	bj1, bj2 := Node{"wg-bj-1", "bj", 100, 0}, Node{"wg-bj-2", "bj", 100, 0}
	sh := Node{"wg-sh-1", "sh", 100, 0}
	load := func(n Node, load int) Node { n.Load = load; return n }
	for _, tc := range []struct {
		name  string
		nodes []Node
		want  Want
		node  string // "": none; "?": any of them
	}{
		{"none", nil, Want{Device: "d"}, ""},
		{"the only one", []Node{sh}, Want{Device: "d"}, "wg-sh-1"},
		{"its region", []Node{bj1, sh}, Want{Device: "d", Region: "sh"}, "wg-sh-1"},
		{"its region, though fuller", []Node{bj1, load(sh, 99)}, Want{Device: "d", Region: "sh"}, "wg-sh-1"},
		{"its region is full", []Node{bj1, load(sh, 100)}, Want{Device: "d", Region: "sh"}, "wg-bj-1"},
		{"no node of its region", []Node{bj1, sh}, Want{Device: "d", Region: "gz"}, "?"},
		{"all full", []Node{load(bj1, 100), load(sh, 101)}, Want{Device: "d"}, ""},
		{"no room stated", []Node{{"wg", "", 0, 0}}, Want{Device: "d"}, ""},
		{"the last one", []Node{bj1, bj2}, Want{Device: "d", Last: "wg-bj-2"}, "wg-bj-2"},
		{"the last one, a little fuller", []Node{bj1, load(bj2, 25)}, Want{Device: "d", Last: "wg-bj-2"}, "wg-bj-2"},
		{"the last one is gone", []Node{bj1}, Want{Device: "d", Last: "wg-bj-2"}, "wg-bj-1"},
		{"the last one is full", []Node{bj1, load(bj2, 100)}, Want{Device: "d", Last: "wg-bj-2"}, "wg-bj-1"},
		{"the last one is of another region", []Node{bj1, sh}, Want{Device: "d", Region: "sh", Last: "wg-bj-1"}, "wg-sh-1"},
	} {
		got, ok := Choose(tc.nodes, tc.want)
		if ok != (got != "") || tc.node != "?" && got != tc.node || tc.node == "?" && !ok {
			t.Errorf("%s: %q, %t, want %q", tc.name, got, ok, tc.node)
		}
	}
	// Much fuller than the others, the last one is not what the device comes back to,
	// unless its hash says so.
	back := 0
	for i := range 1000 {
		if n, _ := Choose([]Node{bj1, load(bj2, 90)}, Want{Device: fmt.Sprint(i), Last: "wg-bj-2"}); n == "wg-bj-2" {
			back++
		}
	}
	if back > 150 {
		t.Errorf("%d of 1000 came back to a node that is nearly full", back)
	}
}

// fleet opens sessions of 10,000 devices, one after the other, and returns how many
// each node has and where each device is.
func fleet(nodes []Node, last map[string]string) (map[string]string, []Node) {
	at := make(map[string]string)
	list := append([]Node(nil), nodes...)
	for i := range 10_000 {
		d := fmt.Sprintf("kiosk-%05d", i)
		name, ok := Choose(list, Want{Device: d, Last: last[d]})
		if !ok {
			continue
		}
		at[d] = name
		for j := range list {
			if list[j].Name == name {
				list[j].Load++
			}
		}
	}
	return at, list
}

// Ten thousand devices spread by the nodes' room, and few change their node when one
// comes or goes.
func TestBalance(t *testing.T) {
	equal := []Node{{"wg-1", "", 5000, 0}, {"wg-2", "", 5000, 0}, {"wg-3", "", 5000, 0}, {"wg-4", "", 5000, 0}}
	at, list := fleet(equal, nil)
	for _, n := range list {
		if math.Abs(float64(n.Load)-2500) > 125 {
			t.Errorf("%s has %d of 10,000, want 2,500 within 5 %%", n.Name, n.Load)
		}
	}
	// The same fleet again is where it was, without a memory too.
	if again, _ := fleet(equal, nil); moved(at, again) != 0 {
		t.Errorf("%d devices changed their node", moved(at, again))
	}
	// Without one node only its devices change theirs, but for those at the margin.
	without, list := fleet(equal[:3], nil)
	for _, n := range list {
		if math.Abs(float64(n.Load)-10_000./3) > 170 {
			t.Errorf("%s has %d of 10,000 on three nodes", n.Name, n.Load)
		}
	}
	strayed := 0
	for d, n := range at {
		if n != "wg-4" && without[d] != n {
			strayed++
		}
	}
	if strayed > 1500 {
		t.Errorf("%d devices of other nodes changed theirs", strayed)
	}
	// With a memory none does.
	without, _ = fleet(equal[:3], at)
	for d, n := range at {
		if n != "wg-4" && without[d] != n {
			t.Fatalf("%s left %s for %s", d, n, without[d])
		}
	}
	// Nodes of several sizes fill in proportion, to the last place.
	sizes := []Node{{"wg-1", "", 1000, 0}, {"wg-2", "", 3000, 0}, {"wg-3", "", 6000, 0}}
	_, list = fleet(sizes, nil)
	for _, n := range list {
		if n.Load != n.Capacity {
			t.Errorf("%s has %d of %d", n.Name, n.Load, n.Capacity)
		}
	}
	sizes = []Node{{"wg-1", "", 2000, 0}, {"wg-2", "", 6000, 0}, {"wg-3", "", 12_000, 0}}
	_, list = fleet(sizes, nil)
	for _, n := range list {
		if math.Abs(n.used()-0.5) > 0.05 {
			t.Errorf("%s is %.0f %% full, want 50 %%", n.Name, 100*n.used())
		}
	}
}

func moved(a, b map[string]string) (n int) {
	for d := range a {
		if a[d] != b[d] {
			n++
		}
	}
	return n
}

func BenchmarkChoose(b *testing.B) {
	nodes := make([]Node, 16)
	for i := range nodes {
		nodes[i] = Node{fmt.Sprintf("wg-%d", i), "", 10_000, 100 * i}
	}
	for b.Loop() {
		Choose(nodes, Want{Device: "kiosk-00001"})
	}
}
