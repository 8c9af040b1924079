// Package metrics shows a program's counters to Prometheus, and its health beside
// them.
package metrics

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/boothwire/boothwire/internal/health"
	"github.com/boothwire/boothwire/internal/tally"
)

// The kinds of figures.
const (
	Gauge   = "gauge"
	Counter = "counter"
)

// A Writer writes the text format 0.0.4; every name is within boothwire_, but for
// those of Process. Values of labels are words and node names, never a device or a
// session: how many there are must not depend on the fleet.
type Writer struct{ w io.Writer }

// NewWriter writes to w.
func NewWriter(w io.Writer) Writer { return Writer{w} }

// A Figure is one of several of a name, which its labels tell apart.
type Figure struct {
	Labels Labels
	Value  any // a number or a tally.Histogram
}

// Labels are names and values by turns.
type Labels []string

// One writes a figure that stands alone.
func (m Writer) One(name, kind, help string, v any) {
	m.head("boothwire_"+name, kind, help)
	m.line("boothwire_"+name, nil, v)
}

// By writes a figure for each value of a label.
func (m Writer) By(label, name, kind, help string, values map[string]uint64) {
	m.head("boothwire_"+name, kind, help)
	for _, v := range slices.Sorted(maps.Keys(values)) {
		m.line("boothwire_"+name, Labels{label, v}, values[v])
	}
}

// Each writes figures of one name in their order.
func (m Writer) Each(name, kind, help string, figures []Figure) {
	m.head("boothwire_"+name, kind, help)
	for _, f := range figures {
		m.line("boothwire_"+name, f.Labels, f.Value)
	}
}

// Histogram writes how often values were up to each bound; h counts them between the
// bounds.
func (m Writer) Histogram(name, help string, h tally.Histogram) {
	m.Histograms(name, help, []Figure{{Value: h}})
}

// Histograms writes figures that are histograms.
func (m Writer) Histograms(name, help string, figures []Figure) {
	name = "boothwire_" + name
	m.head(name, "histogram", help)
	for _, f := range figures {
		h := f.Value.(tally.Histogram)
		n := uint64(0)
		for i, count := range h.Counts {
			n += count
			le := "+Inf"
			if i < len(h.Bounds) {
				le = fmt.Sprint(h.Bounds[i])
			}
			m.line(name+"_bucket", append(slices.Clip(f.Labels), "le", le), n)
		}
		m.line(name+"_sum", f.Labels, h.Sum)
		m.line(name+"_count", f.Labels, n)
	}
}

// Bit is a figure that says yes or no.
func Bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (m Writer) head(name, kind, help string) {
	fmt.Fprintf(m.w, "# HELP %s %s\n# TYPE %[1]s %[3]s\n", name, help, kind)
}

func (m Writer) line(name string, labels Labels, v any) {
	io.WriteString(m.w, name)
	for i := 0; i+1 < len(labels); i += 2 {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		fmt.Fprintf(m.w, "%s%s=%q", sep, labels[i], labels[i+1])
	}
	if len(labels) > 0 {
		io.WriteString(m.w, "}")
	}
	fmt.Fprintf(m.w, " %v\n", v)
}

// Handler answers /metrics with the process's own figures and what each of write
// does, /healthz, and /readyz with ready; nil: always able.
func Handler(ready func(context.Context) health.Report, write ...func(Writer)) http.Handler {
	mux := http.NewServeMux()
	health.Register(mux, ready)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		for _, f := range write {
			f(Writer{w})
		}
		Process(Writer{w})
	})
	return mux
}

// Serve serves Handler over plain HTTP until stop; an empty address serves nothing.
func Serve(addr string, ready func(context.Context) health.Report, write ...func(Writer)) (stop func(), err error) {
	s, err := Listen(addr)
	if err != nil {
		return nil, err
	}
	s.Serve(ready, write...)
	return s.Close, nil
}

// A Server is Serve in two steps, for a program that wants to know that the address is
// free before it has anything to show.
type Server struct {
	ln net.Listener // nil: none was asked for
	hs http.Server
}

// Listen takes the address; an empty one is none.
func Listen(addr string) (*Server, error) {
	if addr == "" {
		return &Server{}, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics: %w", err)
	}
	return &Server{ln: ln}, nil
}

// Serve begins to serve Handler, until Close. It is called at most once.
func (s *Server) Serve(ready func(context.Context) health.Report, write ...func(Writer)) {
	if s.ln == nil {
		return
	}
	s.hs.Handler, s.hs.ReadHeaderTimeout = Handler(ready, write...), 10*time.Second
	go s.hs.Serve(s.ln)
}

// Close ends it.
func (s *Server) Close() {
	if s.ln != nil {
		s.hs.Close()
		s.ln.Close() // which nobody serves yet, perhaps
	}
}
