package metrics

import (
	"context"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/internal/health"
	"github.com/boothwire/boothwire/internal/tally"
)

func TestWriter(t *testing.T) {
	var b strings.Builder
	m := NewWriter(&b)
	m.One("node_sessions", Gauge, "Sessions in force.", 2)
	m.By("code", "relay_refused_total", Counter, "Refusals.", map[string]uint64{"forged": 3, "expired": 1})
	wait := tally.Histogram{Bounds: []float64{0.5, 300}, Counts: []uint64{2, 1, 1}, Sum: 1000.5}
	m.Histogram("wait_seconds", "Waits.", wait)
	m.Histograms("wake_seconds", "Wakes.", []Figure{{Labels{"kind", "node", "outcome", "ready"}, tally.Histogram{Counts: []uint64{1}, Sum: 4}}})
	m.Each("line_up", Gauge, "Lines.", []Figure{{Labels{"line", `a"b\`}, 1}})
	const want = `# HELP boothwire_node_sessions Sessions in force.
# TYPE boothwire_node_sessions gauge
boothwire_node_sessions 2
# HELP boothwire_relay_refused_total Refusals.
# TYPE boothwire_relay_refused_total counter
boothwire_relay_refused_total{code="expired"} 1
boothwire_relay_refused_total{code="forged"} 3
# HELP boothwire_wait_seconds Waits.
# TYPE boothwire_wait_seconds histogram
boothwire_wait_seconds_bucket{le="0.5"} 2
boothwire_wait_seconds_bucket{le="300"} 3
boothwire_wait_seconds_bucket{le="+Inf"} 4
boothwire_wait_seconds_sum 1000.5
boothwire_wait_seconds_count 4
# HELP boothwire_wake_seconds Wakes.
# TYPE boothwire_wake_seconds histogram
boothwire_wake_seconds_bucket{kind="node",outcome="ready",le="+Inf"} 1
boothwire_wake_seconds_sum{kind="node",outcome="ready"} 4
boothwire_wake_seconds_count{kind="node",outcome="ready"} 1
# HELP boothwire_line_up Lines.
# TYPE boothwire_line_up gauge
boothwire_line_up{line="a\"b\\"} 1
`
	if got := b.String(); got != want {
		t.Errorf("wrote\n%s", got)
	}
}

func TestHandler(t *testing.T) {
	h := Handler(func(context.Context) (r health.Report) {
		r.Refuse("control", "it is not reached")
		return r
	}, func(m Writer) { m.One("node_sessions", Gauge, "Sessions in force.", 2) })
	want := map[string][]string{
		"/healthz": {"ok\n"},
		"/readyz":  {`{"ready":false,"reasons":[{"part":"control","why":"it is not reached"}]}`},
		"/metrics": {"boothwire_node_sessions 2\n", "\nboothwire_build_info{program=", "\ngo_goroutines ", "\nprocess_start_time_seconds 1"},
	}
	if runtime.GOOS == "linux" {
		want["/metrics"] = append(want["/metrics"], "\nprocess_cpu_seconds_total 0.", "\nprocess_resident_memory_bytes ", "\nprocess_open_fds ", "\nprocess_max_fds ")
	}
	for path, all := range want {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		for _, part := range all {
			if !strings.Contains(w.Body.String(), part) {
				t.Errorf("%s: no %q in\n%s", path, part, w.Body)
			}
		}
	}
}

func TestServe(t *testing.T) {
	stop, err := Serve("", nil)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := Serve("127.0.0.1:none", nil); err == nil {
		t.Error("served on no port")
	}
}
