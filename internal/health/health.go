// Package health says over HTTP whether a process is alive, and whether it can take
// work: to load balancers, supervisors and people, without a sign-in.
package health

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
)

// A Reason is one part of a process that is not as it should be. Both are words for
// strangers too: no address, no name of a device, no error's text.
type Reason struct {
	Part string `json:"part"` // such as "store"
	Why  string `json:"why"`  // such as "it does not answer"
}

// A Report is how a process is. It can take work unless it has Reasons.
type Report struct {
	Reasons []Reason // why it cannot
	Limits  []Reason // what is missing while it can
}

// Refuse adds why the process cannot take work.
func (r *Report) Refuse(part, why string) { r.Reasons = append(r.Reasons, Reason{part, why}) }

// Limit adds what is missing, though the process can take work.
func (r *Report) Limit(part, why string) { r.Limits = append(r.Limits, Reason{part, why}) }

// MarshalJSON writes {"ready":false,"reasons":[...],"limits":[...]}.
func (r Report) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Ready   bool     `json:"ready"`
		Reasons []Reason `json:"reasons,omitempty"`
		Limits  []Reason `json:"limits,omitempty"`
	}{len(r.Reasons) == 0, r.Reasons, r.Limits})
}

// Register serves GET /healthz, which answers as long as the process does, and
// GET /readyz, the report as JSON: status 200 when it can take work, 503 when not.
// ready is called for each; nil: always able.
func Register(mux *http.ServeMux, ready func(context.Context) Report) {
	if ready == nil {
		ready = func(context.Context) Report { return Report{} }
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		report := ready(r.Context())
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if len(report.Reasons) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		json.NewEncoder(w).Encode(report)
	})
}
