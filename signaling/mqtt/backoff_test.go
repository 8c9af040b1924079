package mqtt

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// bounds draws a delay at both ends of its range.
func bounds(b *backoff) (least, most time.Duration) {
	low, high := *b, *b
	low.random = func(int64) int64 { return 0 }
	high.random = func(n int64) int64 { return n - 1 }
	least, most = low.delay(), high.delay()
	b.n, b.moved = high.n, high.moved
	return least, most + 1
}

func TestBackoff(t *testing.T) {
	const s, min = time.Second, time.Minute
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	type event struct {
		after       time.Duration
		what        string
		least, most time.Duration
	}
	for _, tt := range []struct {
		name   string
		spread time.Duration
		events []event
	}{
		{"the first attempt is at once", min, []event{{0, "", 0, 1}}},
		{"broker down", min, []event{
			{0, "up", 0, 1}, {40 * s, "lost", 0, 60 * s}, {s, "failed", 5 * s, 10 * s}, {s, "failed", 10 * s, 20 * s},
			{s, "failed", 20 * s, 40 * s}, {s, "failed", 30 * s, 60 * s}, {s, "failed", 30 * s, 60 * s},
			{0, "up", 30 * s, 60 * s}, {30 * s, "lost", 0, 60 * s},
		}},
		{"never up", min, []event{{0, "failed", 5 * s, 10 * s}, {s, "failed", 10 * s, 20 * s}}},
		{"accepts and drops", min, []event{
			{0, "up", 0, 1}, {s, "lost", 5 * s, 10 * s}, {s, "up", 5 * s, 10 * s}, {29 * s, "lost", 10 * s, 20 * s},
		}},
		{"taken over", min, []event{
			{0, "up", 0, 1}, {60 * s, "taken", 2 * min, 4 * min}, {s, "moved", 2 * min, 4 * min}, {s, "up", 2 * min, 4 * min}, {40 * s, "lost", 0, 60 * s},
		}},
		{"not authorised", min, []event{{0, "refused", 4 * min, 6 * min}, {s, "refused", 4 * min, 6 * min}, {s, "failed", 20 * s, 40 * s}}},
		{"link changes", min, []event{
			{0, "up", 0, 1}, {60 * s, "lost", 0, 60 * s}, {s, "moved", 0, 3 * s}, {s, "failed", 5 * s, 10 * s},
			{s, "moved", 5 * s, 10 * s}, {30 * s, "moved", 0, 3 * s},
		}},
		{"small spread", s, []event{
			{0, "up", 0, 1}, {40 * s, "lost", 0, s}, {s, "failed", s / 12, s / 6}, {s, "failed", s / 6, s / 3},
		}},
		{"no spread", -1, []event{{0, "up", 0, 1}, {40 * s, "lost", 0, 1}, {s, "failed", 50 * time.Millisecond, 100 * time.Millisecond}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, now := newBackoff(tt.spread), start
			for i, e := range tt.events {
				now = now.Add(e.after)
				switch e.what {
				case "up":
					b.up(now)
					continue
				case "lost":
					b.down(now, causeLost)
				case "failed":
					b.down(now, causeFailed)
				case "taken":
					b.down(now, causeTakenOver)
				case "refused":
					b.down(now, causeNotAuthorised)
				case "moved":
					b.linkChanged(now)
				}
				least, most := bounds(b)
				if least.Round(time.Millisecond) != e.least.Round(time.Millisecond) || most.Round(time.Millisecond) != e.most.Round(time.Millisecond) {
					t.Errorf("event %d (%s): delay %v..%v, want %v..%v", i, e.what, least, most, e.least, e.most)
				}
			}
		})
	}
}

// However often it fails, the delay stays within a minute and never overflows.
func TestBackoffForever(t *testing.T) {
	b := newBackoff(time.Minute)
	for range 10000 {
		b.down(time.Time{}, causeFailed)
		if d := b.delay(); d < 5*time.Second || d > maxDelay {
			t.Fatalf("delay %v", d)
		}
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{back: newBackoff(time.Minute), link: fingerprint(), log: zap.NewNop()}
		begin := time.Now()
		l.wait(t.Context())
		if d := time.Since(begin); d != 0 {
			t.Errorf("the first attempt waits %v", d)
		}
		l.back.down(time.Now(), causeFailed)
		l.wait(t.Context())
		if d := time.Since(begin); d < 5*time.Second || d > 10*time.Second {
			t.Errorf("the second attempt waits %v", d)
		}
		// A link that changed while nobody looked counts when the wait begins.
		l.back.down(time.Now(), causeFailed)
		l.link, begin = "another", time.Now()
		l.wait(t.Context())
		if d := time.Since(begin); d > linkSpread {
			t.Errorf("after a link change: %v", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		l.back.down(time.Now(), causeTakenOver)
		begin = time.Now()
		time.AfterFunc(time.Second, cancel)
		l.wait(ctx)
		if d := time.Since(begin); d != time.Second {
			t.Errorf("cancelled after %v", d)
		}
	})
}

// A change that is seen during the wait cuts it short.
func TestWaitLinkChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{back: newBackoff(time.Hour), link: fingerprint(), log: zap.NewNop()}
		l.back.random = func(n int64) int64 { return n - 1 }
		l.back.up(time.Now())
		time.Sleep(time.Minute)
		l.back.down(time.Now(), causeLost)
		begin := time.Now()
		time.AfterFunc(5*time.Second, func() {
			l.mu.Lock()
			l.link = "another"
			l.mu.Unlock()
		})
		l.wait(t.Context())
		if d := time.Since(begin); d < 5*time.Second || d > 5*time.Second+linkPoll+linkSpread {
			t.Errorf("waited %v", d)
		}
	})
}
