package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestScale(t *testing.T) {
	for _, tt := range []struct {
		most  float64
		n     int
		ticks []float64
	}{
		{10, 5, []float64{0, 2, 4, 6, 8, 10}},
		{11, 5, []float64{0, 5, 10, 15}},
		{0.93, 5, []float64{0, 0.2, 0.4, 0.6, 0.8, 1}},
		{0, 5, []float64{0, 1}},
		{math.NaN(), 5, []float64{0, 1}},
		{math.Inf(1), 5, []float64{0, 1}},
	} {
		got := newScale(tt.most, tt.n).ticks()
		same := slices.EqualFunc(got, tt.ticks, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
		if !same {
			t.Errorf("to %v: %v, want %v", tt.most, got, tt.ticks)
		}
	}
	if s := newScale(10, 5); s.at(5) != 0.5 || s.at(-1) != 0 || s.at(99) != 1 {
		t.Error("values are not where they belong")
	}
}

func TestSVG(t *testing.T) {
	c := Chart{Title: "a <b> & c", X: "s", Y: "cores", Limit: 3, Marks: []Mark{{1, "kill & go"}}, Points: true, Lines: []Line{
		{Name: "con<trol", X: []float64{0, 1, 2}, Y: []float64{0, 2, 1}},
		{Name: "lame", X: []float64{0, 1}, Y: []float64{1}},
		{Name: "none"},
	}}
	svg := string(c.SVG())
	wellFormed(t, svg)
	for _, want := range []string{"a &lt;b&gt; &amp; c", "con&lt;trol", "kill &amp; go", "limit 3", `class="line c0" d="M62.0`} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %q in %s", want, svg)
		}
	}
	if strings.Contains(svg, "lame") || strings.Count(svg, "<circle") != 3 {
		t.Errorf("a line that is none was drawn: %s", svg)
	}
	empty := string(Chart{}.SVG())
	wellFormed(t, empty)
	if !strings.Contains(empty, "no values") {
		t.Errorf("an empty chart: %s", empty)
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
}
