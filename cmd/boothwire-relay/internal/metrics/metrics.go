// Package metrics shows a relay's counters to Prometheus.
package metrics

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"github.com/boothwire/boothwire/relay/server"
)

// Handler answers /metrics (text format 0.0.4) and /healthz.
func Handler(s *server.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		write(w, s.Stats())
	})
	return mux
}

func write(w io.Writer, st server.Stats) {
	one := func(name, kind, help string, v any) {
		fmt.Fprintf(w, "# HELP boothwire_relay_%s %s\n# TYPE boothwire_relay_%[1]s %[3]s\nboothwire_relay_%[1]s %[4]v\n", name, help, kind, v)
	}
	one("sessions", "gauge", "Sessions with both ends there.", st.Sessions)
	one("legs", "gauge", "Ends of sessions that are there.", st.Legs)
	one("unproved", "gauge", "Connections that have not proved a key yet.", st.Open)
	one("received_bytes_total", "counter", "Bytes of frames from all legs.", st.Bytes)
	one("dropped_bytes_total", "counter", "Bytes that found no room, no other end, or waited too long.", st.Dropped)
	one("writes_total", "counter", "Writes to legs; received bytes over it say how well they are gathered.", st.Writes)
	one("legs_total", "counter", "Legs that proved their key.", st.Accepted)
	one("cloned_total", "counter", "Sessions that ended because two machines used one key.", st.Cloned)
	fmt.Fprint(w, "# HELP boothwire_relay_refused_total Connections that were refused.\n# TYPE boothwire_relay_refused_total counter\n")
	for _, code := range slices.Sorted(maps.Keys(st.Reasons)) {
		fmt.Fprintf(w, "boothwire_relay_refused_total{code=%q} %d\n", code, st.Reasons[code])
	}
}
