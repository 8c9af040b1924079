package signaling

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRungs writes down what is done with three lines. Times are seconds.
func TestRungs(t *testing.T) {
	type step struct {
		at   float64
		line int  // -1: only the time passes
		what byte // u up, d down, x failed for good
	}
	const hour = 3600
	for _, c := range []struct {
		name  string
		begin int
		steps []step
		want  string
	}{
		{"the first works", 0, []step{{1, 0, 'u'}, {100 * hour, -1, 0}}, "start0 up0 remember0"},
		{"20 s without a connection", 0, []step{{19, -1, 0}, {20, -1, 0}, {41, -1, 0}, {61, -1, 0}}, "start0 stop0 start1 stop1 start2 stop2 start0"},
		{"3 failures", 0, []step{{1, 0, 'd'}, {2, 0, 'd'}, {3, 0, 'd'}, {4, 1, 'u'}}, "start0 down0 down0 down0 stop0 start1 up1 remember1"},
		{"2 failures, then it works", 0, []step{{1, 0, 'd'}, {2, 0, 'd'}, {3, 0, 'u'}, {99, -1, 0}}, "start0 down0 down0 up0 remember0"},
		{"a line that was lost gets 75 s", 0, []step{{1, 0, 'u'}, {100, 0, 'd'}, {174, -1, 0}, {175, -1, 0}}, "start0 up0 remember0 down0 stop0 start1"},
		{"and comes back", 0, []step{{1, 0, 'u'}, {100, 0, 'd'}, {174, 0, 'u'}, {999, -1, 0}}, "start0 up0 remember0 down0 up0 remember0"},
		{"a line that was lost and fails 3 times", 0, []step{{1, 0, 'u'}, {100, 0, 'd'}, {101, 0, 'd'}, {102, 0, 'd'}, {103, 0, 'd'}},
			"start0 up0 remember0 down0 down0 down0 down0 stop0 start1"},
		{"what is remembered comes first", 2, []step{{1, 2, 'u'}}, "start2 up2 remember2"},
		{"better lines are tried beside it", 2, []step{{0, 2, 'u'}, {6 * hour, -1, 0}, {6*hour + 20, -1, 0}, {6*hour + 21, 1, 'u'}},
			"start2 up2 remember2 start0 stop0 start1 up1 remember1 stop2"},
		{"none is better", 2, []step{{0, 2, 'u'}, {6 * hour, -1, 0}, {6*hour + 1, 0, 'd'}, {6*hour + 2, 0, 'd'}, {6*hour + 3, 0, 'd'}, {6*hour + 4, 1, 'x'}, {12*hour + 5, -1, 0}},
			"start2 up2 remember2 start0 stop0 start1 stop1 start0"},
		{"the line in use fails during a probe", 2, []step{{0, 2, 'u'}, {6 * hour, -1, 0}, {6*hour + 1, 2, 'x'}}, "start2 up2 remember2 start0 down2 stop0 stop2 start0"},
		{"no probe while the line in use is down", 1, []step{{0, 1, 'u'}, {6*hour - 1, 1, 'd'}, {6 * hour, -1, 0}, {6*hour + 1, 1, 'u'}, {6*hour + 20, -1, 0}},
			"start1 up1 remember1 down1 up1 remember1 start0"},
		{"lines that failed for good are left out", 0, []step{{1, 0, 'x'}, {2, 1, 'x'}, {3, 2, 'u'}, {4, 2, 'd'}, {79, -1, 0}, {99, -1, 0}},
			"start0 stop0 start1 stop1 start2 up2 remember2 down2"},
		{"all failed for good", 0, []step{{1, 0, 'x'}, {2, 1, 'x'}, {3, 2, 'x'}}, "start0 stop0 start1 stop1 start2 hopeless"},
		{"a line that is not in use says nothing", 0, []step{{20, -1, 0}, {21, 0, 'u'}, {22, 2, 'd'}}, "start0 stop0 start1"},
	} {
		zero := time.Unix(1e9, 0)
		r := newRungs(3, func() time.Duration { return 6 * time.Hour })
		var got []string
		note := func(list []any) {
			for _, a := range list {
				switch a := a.(type) {
				case startLine:
					got = append(got, fmt.Sprint("start", a.i))
				case stopLine:
					got = append(got, fmt.Sprint("stop", a.i))
				case lineIs:
					got = append(got, fmt.Sprint(map[bool]string{true: "up", false: "down"}[a.up], a.i))
				case remember:
					got = append(got, fmt.Sprint("remember", a.i))
				}
			}
		}
		note(r.begin(zero, c.begin))
		for _, s := range c.steps {
			now := zero.Add(time.Duration(s.at * float64(time.Second)))
			for at := r.next(); !at.IsZero() && at.Before(now); at = r.next() {
				note(r.tick(at))
			}
			switch s.what {
			case 'u', 'd':
				note(r.connected(now, s.line, s.what == 'u'))
			case 'x':
				note(r.ended(now, s.line))
			default:
				if at := r.next(); !at.IsZero() && !now.Before(at) {
					note(r.tick(now))
				}
			}
		}
		if r.hopeless() {
			got = append(got, "hopeless")
		}
		if want := strings.Fields(c.want); !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %v\nwant %v", c.name, got, want)
		}
	}
}
