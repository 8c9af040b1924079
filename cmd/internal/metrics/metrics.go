// Package metrics shows a program's counters to Prometheus.
package metrics

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"
)

// The kinds of figures.
const (
	Gauge   = "gauge"
	Counter = "counter"
)

// A Writer writes the text format 0.0.4; every name is within boothwire_.
type Writer struct{ w io.Writer }

// NewWriter writes to w.
func NewWriter(w io.Writer) Writer { return Writer{w} }

// One writes a figure that stands alone.
func (m Writer) One(name, kind, help string, v any) {
	m.head(name, kind, help)
	fmt.Fprintf(m.w, "boothwire_%s %v\n", name, v)
}

// By writes a figure for each value of a label.
func (m Writer) By(label, name, kind, help string, values map[string]uint64) {
	m.head(name, kind, help)
	for _, v := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(m.w, "boothwire_%s{%s=%q} %d\n", name, label, v, values[v])
	}
}

// Histogram writes how often values were up to each bound and above the one before it;
// counts has one more, of those above all.
func (m Writer) Histogram(name, help string, bounds []float64, counts []uint64, sum float64) {
	m.head(name, "histogram", help)
	n := uint64(0)
	for i, count := range counts {
		n += count
		le := "+Inf"
		if i < len(bounds) {
			le = fmt.Sprint(bounds[i])
		}
		fmt.Fprintf(m.w, "boothwire_%s_bucket{le=%q} %d\n", name, le, n)
	}
	fmt.Fprintf(m.w, "boothwire_%s_sum %v\nboothwire_%[1]s_count %[3]d\n", name, sum, n)
}

func (m Writer) head(name, kind, help string) {
	fmt.Fprintf(m.w, "# HELP boothwire_%s %s\n# TYPE boothwire_%[1]s %[3]s\n", name, help, kind)
}

// Handler answers /metrics with what each of write does, and /healthz.
func Handler(write ...func(Writer)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		for _, f := range write {
			f(Writer{w})
		}
	})
	return mux
}

// Serve serves Handler over plain HTTP until stop; an empty address serves nothing.
func Serve(addr string, write ...func(Writer)) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics: %w", err)
	}
	hs := &http.Server{Handler: Handler(write...), ReadHeaderTimeout: 10 * time.Second}
	go hs.Serve(ln)
	return func() { hs.Close() }, nil
}
