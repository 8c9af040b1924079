package control

import (
	"reflect"
	"testing"

	"github.com/boothwire/boothwire/gateway/control/client"
)

func TestSamples(t *testing.T) {
	var l samples
	for i := range 1000 {
		path := "relay"
		if i >= 700 {
			path = "direct"
		}
		before := l
		copied := append(samples(nil), l...)
		l = l.add(client.Sample{After: client.Seconds(60 * i), Path: path, RTT: client.Micros(i)})
		if !reflect.DeepEqual(before, copied) {
			t.Fatal("what others read has changed")
		}
	}
	if len(l) != maxSamples || l[0].After != 0 || l[maxSamples-1].After != 60*999 {
		t.Fatalf("%d from %d to %d", len(l), l[0].After, l[len(l)-1].After)
	}
	changed := false
	for i := 1; i < len(l); i++ {
		if gap := l[i].After - l[i-1].After; gap <= 0 || gap > 4*60*1000/maxSamples {
			t.Errorf("%d s between %d and %d", gap, i-1, i)
		}
		changed = changed || l[i].After == 60*700 && l[i].Path == "direct" && l[i-1].Path == "relay"
	}
	if !changed {
		t.Error("the change of the path is lost")
	}
	if again := l.add(client.Sample{After: 60 * 999, Path: "relay"}); len(again) != maxSamples || again[maxSamples-1].Path != "relay" {
		t.Errorf("in the same second: %+v", again[len(again)-1])
	}
	if again := l.add(client.Sample{After: 5}); len(again) != maxSamples || again[maxSamples-1].After != 60*999 {
		t.Error("a clock that went back counts")
	}
	// A path that changes all the time is bounded, too.
	l = nil
	for i := range 1000 {
		l = l.add(client.Sample{After: client.Seconds(i), Path: []string{"relay", "direct"}[i%2]})
	}
	if len(l) != maxSamples || l[0].After != 0 || l[maxSamples-1].After != 999 {
		t.Errorf("%d from %d to %d", len(l), l[0].After, l[len(l)-1].After)
	}
	if got := readSamples(l.rows()); !reflect.DeepEqual(got, l) {
		t.Errorf("read again as %+v", got)
	}
}
