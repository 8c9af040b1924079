package nat

import (
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boothwire/boothwire/internal/leaktest"
)

// A report that is known only after the path still reaches the far end, over an
// exchanger that loses and forges.
func TestReportAfterPath(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	defer leaktest.None(t, goleak.IgnoreCurrent())
	x, y := posts(true)
	var dials, accepts atomic.Pointer[string]
	text := func(p *atomic.Pointer[string]) func() string {
		return func() string {
			if s := p.Load(); s != nil {
				return *s
			}
			return ""
		}
	}
	d, c := both(t, a, b, x, y, &Config{Report: text(&dials)}, &Config{Report: text(&accepts)})
	defer d.Close()
	defer c.Close()
	if d.FarReport() != "" || c.FarReport() != "" {
		t.Fatalf("reports before there are any: %q, %q", d.FarReport(), c.FarReport())
	}
	here, there := "port-restricted", "symmetric"
	dials.Store(&here)
	accepts.Store(&there)
	for end := time.Now().Add(reportLate + patience); d.FarReport() != there || c.FarReport() != here; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after the path: %q and %q, want %q and %q", d.FarReport(), c.FarReport(), there, here)
		}
	}
	check(t, d)
}
