package metrics

import (
	"net/http/httptest"
	"testing"
)

func TestHandler(t *testing.T) {
	h := Handler(
		func(m Writer) { m.One("node_sessions", Gauge, "Sessions in force.", 2) },
		func(m Writer) {
			m.By("code", "relay_refused_total", Counter, "Refusals.", map[string]uint64{"forged": 3, "expired": 1})
			m.Histogram("wait_seconds", "Waits.", []float64{0.5, 300}, []uint64{2, 1, 1}, 1000.5)
		})
	for path, want := range map[string]string{
		"/healthz": "ok\n",
		"/metrics": `# HELP boothwire_node_sessions Sessions in force.
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
`} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if got := w.Body.String(); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

func TestServe(t *testing.T) {
	stop, err := Serve("")
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := Serve("127.0.0.1:none"); err == nil {
		t.Error("served on no port")
	}
}
