//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/boothwire/boothwire/internal/netlab"
)

const (
	metricsControl = "127.0.0.1:9169"
	metricsNode    = "127.0.0.1:9167" // of carryRelay
)

// TestWatched holds the alerts and the dashboard against what the processes export
// once a session was there, and health against what is stopped.
func TestWatched(t *testing.T) {
	t.Parallel() // it waits, most of the time
	w := prepare(t, options{})
	w.write(w.controlConfig, fmt.Sprintf("metrics = %q\n%s", metricsControl, w.read(w.controlConfig)))
	w.carryRelay()
	w.startAgent(options{})
	w.waitOnline()
	w.ssh("true")

	var text string
	all := expressions(t)
	eventually(t, "what alerts and the dashboard ask for is exported", func() (err error) { // some when the session is over
		exported := make(map[string]exposed)
		text = w.page(w.controlHost, metricsControl, "/metrics") + w.page(w.nodeHost, metricsNode, "/metrics")
		readFigures(text, exported)
		for name, expr := range all {
			err = errors.Join(err, check(name, expr, exported))
		}
		return err
	})
	if strings.Contains(text, kiosk) || strings.Contains(text, w.session1(t)) {
		t.Errorf("a device or a session is in the figures: there are 10,000 of them\n%s", text)
	}

	w.ready("control", w.controlHost, metricsControl, `^\{"ready":true\}`)
	w.ready("node", w.nodeHost, metricsNode, `^\{"ready":true\}`)
	w.mosquitto.stop()
	w.ready("control without a broker", w.controlHost, metricsControl, `^\{"ready":true,"limits":\[\{"part":"line","why":"it is not connected"\}\]\}`)
	w.control.stop()
	w.ready("node without control", w.nodeHost, metricsNode, `^\{"ready":false,"reasons":\[\{"part":"control","why":"it is not reached"\}\]\}`)
	if got := w.page(w.nodeHost, metricsNode, "/healthz"); got != "ok\n" {
		t.Errorf("the node is not alive: %q", got)
	}
}

// session1 is the id of a session of the kiosk's.
func (w *world) session1(t *testing.T) string {
	t.Helper()
	var all []struct{ ID string }
	if err := json.Unmarshal([]byte(w.ctl("sessions", "--all", "--json")), &all); err != nil || len(all) == 0 {
		t.Fatalf("sessions: %v, %v", all, err)
	}
	return all[0].ID
}

func (w *world) page(h *netlab.Host, addr, path string) string {
	w.t.Helper()
	text, err := get(h, addr, path)
	if err != nil {
		w.t.Fatalf("%s%s: %v", addr, path, err)
	}
	return text
}

// ready waits until a process says of itself what it should.
func (w *world) ready(what string, h *netlab.Host, addr, want string) {
	w.t.Helper()
	eventually(w.t, what, func() error {
		text, err := get(h, addr, "/readyz")
		if err == nil && !regexp.MustCompile(want).MatchString(text) {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
}

// expressions are those of the alerts and of the dashboard, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	deploy := filepath.Join("..", "..", "deploy")
	text, err := os.ReadFile(filepath.Join(deploy, "prometheus", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var alerts struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &alerts); err != nil {
		t.Fatal(err)
	}
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			all[r.Alert] = r.Expr
			if r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
				t.Errorf("%s does not say what it means and what to do", r.Alert)
			}
		}
	}
	if text, err = os.ReadFile(filepath.Join(deploy, "grafana", "boothwire.json")); err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all[p.Title+" "+target.RefID] = target.Expr
		}
	}
	for _, v := range board.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			name, _, _ := strings.Cut(strings.TrimPrefix(q["query"].(string), "label_values("), ",")
			all["variable "+v.Name] = name
		}
	}
	if len(all) < 80 {
		t.Fatalf("only %d expressions were found", len(all))
	}
	return all
}

// fromPrometheus are the labels that Prometheus adds.
var fromPrometheus = []string{"instance", "job"}

// check compares an expression with what is exported: names, labels, and the values of
// labels, but for codes and reasons, of which only those that came are there.
func check(where, expr string, exported map[string]exposed) (err error) {
	wrong := func(format string, args ...any) { err = errors.Join(err, fmt.Errorf(where+": "+format, args...)) }
	list, groups := uses(expr)
	known := slices.Clone(fromPrometheus)
	for _, u := range list {
		f, ok := exported[u.metric]
		if u.metric == "up" {
			continue // Prometheus's own
		}
		if !ok {
			wrong("no process exports %s", u.metric)
			continue
		}
		for label := range f.labels {
			known = append(known, label)
		}
		if len(f.labels) == 0 {
			known = append(known, "code", "reason") // none came yet
		}
		for label, value := range u.labels {
			if slices.Contains(fromPrometheus, label) || label == "code" || label == "reason" {
				continue
			}
			if values := f.labels[label]; values == nil || value != "" && !values[value] {
				wrong("%s has no %s=%q", u.metric, label, value)
			}
		}
	}
	for _, g := range groups {
		if !slices.Contains(known, g) {
			wrong("nothing in it has the label %s", g)
		}
	}
	return err
}
