//go:build linux

package e2e

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A use is one metric that an expression names, and what it says of its labels.
type use struct {
	metric string
	labels map[string]string // by name; the value that it must equal, or nothing
}

var (
	promNumber   = regexp.MustCompile(`\[[^\]]*\]|\b[0-9][0-9a-zA-Z_.]*`) // and durations
	promGrouping = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	promName     = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\}|\()?`)
	promMatcher  = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")`)
	promWords    = []string{"and", "or", "unless", "bool", "offset", "group_left", "group_right"}
)

// uses returns the metrics that a PromQL expression names, and the labels by which it
// groups: as much of the language as our files use.
func uses(expr string) (list []use, groups []string) {
	for _, g := range promGrouping.FindAllStringSubmatch(expr, -1) {
		for _, label := range strings.Split(g[2], ",") {
			if label = strings.TrimSpace(label); label != "" {
				groups = append(groups, label)
			}
		}
	}
	expr = promGrouping.ReplaceAllString(promNumber.ReplaceAllString(expr, ""), "")
	for _, m := range promName.FindAllStringSubmatch(expr, -1) {
		if m[2] == "(" || slices.Contains(promWords, m[1]) {
			continue // a function, or a word
		}
		u := use{m[1], make(map[string]string)}
		for _, l := range promMatcher.FindAllStringSubmatch(m[2], -1) {
			u.labels[l[1]] = ""
			if l[2] == "=" {
				u.labels[l[1]] = strings.Trim(l[3], `"`)
			}
		}
		list = append(list, u)
	}
	return list, groups
}

// exposed is one metric as a process exports it.
type exposed struct {
	labels map[string]map[string]bool // names, and the values that came; none: no figure was there
}

// readFigures reads the text format.
func readFigures(text string, into map[string]exposed) {
	at := func(name string) exposed {
		if _, ok := into[name]; !ok {
			into[name] = exposed{make(map[string]map[string]bool)}
		}
		return into[name]
	}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 4 && f[1] == "TYPE" {
			if f[3] != "histogram" {
				at(f[2])
				continue
			}
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				at(f[2] + part)
			}
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(strings.Fields(line)[0], "{")
		f := at(name)
		for _, l := range promMatcher.FindAllStringSubmatch(rest, -1) {
			if f.labels[l[1]] == nil {
				f.labels[l[1]] = make(map[string]bool)
			}
			f.labels[l[1]][strings.Trim(l[3], `"`)] = true
		}
	}
}

func TestUses(t *testing.T) {
	list, groups := uses(`
		histogram_quantile(0.99, sum by (le, kind) (rate(a_seconds_bucket{outcome="ready",x=~"b|c"}[15m])))
			/ ignoring (path) group_left sum without (path) (increase(d_total[1e3s])) > 1e3
		and up == 0 or f:g{h!="i"} offset 5m`)
	var names []string
	for _, u := range list {
		names = append(names, u.metric)
	}
	if want := []string{"a_seconds_bucket", "d_total", "up", "f:g"}; !slices.Equal(names, want) {
		t.Errorf("names %v, want %v", names, want)
	}
	if want := map[string]string{"outcome": "ready", "x": ""}; !maps.Equal(list[0].labels, want) {
		t.Errorf("labels %v", list[0].labels)
	}
	if want := []string{"le", "kind", "path", "path"}; !slices.Equal(groups, want) {
		t.Errorf("groups %v", groups)
	}
}
