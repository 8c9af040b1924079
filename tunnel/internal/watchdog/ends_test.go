package watchdog

import (
	"testing"
	"time"
)

func TestEnds(t *testing.T) {
	const h, m = time.Hour, time.Minute
	tests := []struct {
		now, lifetime, idle, lastUse time.Duration
		end                          End
		next                         time.Duration
	}{
		{1000 * h, 0, 0, 0, Lives, 0},
		{1000 * h, -1, -1, 0, Lives, 0},
		{8*h - 1, 8 * h, -1, 0, Lives, 8 * h},
		{8 * h, 8 * h, -1, 0, Lifetime, 0},
		{15*m - 1, 8 * h, 15 * m, 0, Lives, 15 * m},
		{15 * m, 8 * h, 15 * m, 0, Unused, 0},
		{15 * m, 8 * h, 15 * m, 10 * m, Lives, 25 * m},
		{7 * h, 8 * h, 2 * h, 7 * h, Lives, 8 * h},
		{8 * h, 8 * h, 15 * m, 8 * h, Lifetime, 0},
		{25 * m, 0, 15 * m, 10 * m, Unused, 0},
	}
	for _, tt := range tests {
		if end, next := Ends(tt.now, tt.lifetime, tt.idle, tt.lastUse); end != tt.end || next != tt.next {
			t.Errorf("%+v: got %d, %v", tt, end, next)
		}
	}
}

// TestSession plays a whole session of eight hours through Machine and Ends: an
// operator who types every ten minutes keeps it, and when he stops it ends.
func TestSession(t *testing.T) {
	w := &world{t: t, now: ms, answers: true}
	var lastUse time.Duration
	for {
		end, next := Ends(w.now, 8*time.Hour, 15*time.Minute, lastUse)
		if end != Lives {
			if end != Unused || w.now != 3*time.Hour+15*time.Minute {
				t.Errorf("ended by %d at %v", end, w.now)
			}
			break
		}
		if at := lastUse + 10*time.Minute; at < next && at <= 3*time.Hour {
			next = at
		}
		w.until(next)
		if next <= 3*time.Hour {
			w.in, w.out, lastUse = w.now, w.now, w.now
		}
	}
	if len(w.doubted)+len(w.repairs) != 0 {
		t.Errorf("doubted %v, repaired %v", w.doubted, w.repairs)
	}
}
