//go:build linux

package e2e

import (
	"path/filepath"
	"testing"
	"time"
)

// TestRates: what control's file says of a session's rates is held, each way by itself.
// Only too fast can be told here: a slow machine is no failure.
func TestRates(t *testing.T) {
	t.Parallel() // it waits, most of the time
	const up, down, size = 8_000_000, 4_000_000, 2 << 20
	w := newWorld(t, options{up: up, down: down})
	here, there, back := filepath.Join(w.dir, "here"), filepath.Join(w.sftpRoot, "there"), filepath.Join(w.dir, "back")
	sum := w.random(here, size)
	for _, way := range []struct {
		name     string
		rate     float64
		from, to string
		file     string
	}{
		{"to the kiosk", down, here, "root@" + kiosk + ":" + there, there},
		{"from the kiosk", up, "root@" + kiosk + ":" + there, back, back},
	} {
		began := time.Now()
		w.operator.Run("scp", w.sshArgs("-q", way.from, way.to)...)
		if rate := size * 8 / time.Since(began).Seconds(); rate > way.rate*1.1 {
			t.Errorf("%s: %.0f bit/s, and the rate is %.0f", way.name, rate, way.rate)
		} else {
			t.Logf("%s: %.0f of %.0f bit/s", way.name, rate, way.rate)
		}
		if w.sum(way.file) != sum {
			t.Errorf("%s: another file arrived", way.name)
		}
	}
}
