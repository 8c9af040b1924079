package plot

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// A Chart is lines over two axes, both from 0.
type Chart struct {
	Title  string
	X, Y   string // names of the axes, with units
	Lines  []Line
	Limit  float64 // a line across, that must not be crossed; 0: none
	Marks  []Mark  // lines from top to bottom
	Points bool    // each value has a dot
}

// A Line is one line of a chart; X ascends.
type Line struct {
	Name string
	X, Y []float64
}

// A Mark names a moment on the X axis.
type Mark struct {
	X    float64
	Text string
}

// The picture, in units of its view box.
const (
	width, height = 760, 280
	left, right   = 62, 170 // the names of lines stand at the right
	top, bottom   = 28, 44
	inner         = width - left - right
	tall          = height - top - bottom
	colours       = 8 // c0 to c7 of the page's style
)

// SVG draws the chart; one without values says so.
func (c Chart) SVG() template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, width, height, template.HTMLEscapeString(c.Title))
	b.WriteString(text(left, 14, "title", c.Title))
	xs, ys := c.scales()
	c.axes(&b, xs, ys)
	for _, m := range c.Marks {
		x := left + xs.at(m.X)*inner
		fmt.Fprintf(&b, `<path class="mark" d="M%.1f %d V%d"/>`, x, top, top+tall)
		fmt.Fprintf(&b, `<text class="note" transform="translate(%.1f %d) rotate(90)">%s</text>`, x+3, top+2, template.HTMLEscapeString(m.Text))
	}
	if c.Limit > 0 {
		y := top + tall - ys.at(c.Limit)*tall
		fmt.Fprintf(&b, `<path class="limit" d="M%d %.1f H%d"/>`, left, y, left+inner)
		b.WriteString(text(left+inner-4, y-5, "note end", "limit "+number(c.Limit)))
	}
	drawn := 0
	for i, l := range c.Lines {
		if len(l.X) == 0 || len(l.X) != len(l.Y) {
			continue
		}
		drawn++
		fmt.Fprintf(&b, `<path class="line c%d" d="%s"/>`, i%colours, path(l, xs, ys))
		if c.Points {
			for j := range l.X {
				fmt.Fprintf(&b, `<circle class="c%d" cx="%.1f" cy="%.1f" r="3"/>`, i%colours, left+xs.at(l.X[j])*inner, top+tall-ys.at(l.Y[j])*tall)
			}
		}
		y := float64(top + 10 + 16*i)
		fmt.Fprintf(&b, `<path class="line c%d" d="M%d %.1f h14"/>`, i%colours, left+inner+26, y-4)
		b.WriteString(text(left+inner+46, y, "name", l.Name))
	}
	if drawn == 0 {
		b.WriteString(text(left+inner/2, top+tall/2, "note", "no values"))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

func (c Chart) axes(b *strings.Builder, xs, ys scale) {
	fmt.Fprintf(b, `<path class="axis" d="M%d %d V%d H%d"/>`, left, top, top+tall, left+inner)
	for _, v := range ys.ticks() {
		y := top + tall - ys.at(v)*tall
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1f H%d"/>`, left, y, left+inner)
		fmt.Fprintf(b, `<text class="tick end" x="%d" y="%.1f">%s</text>`, left-6, y+4, number(v))
	}
	for _, v := range xs.ticks() {
		x := left + xs.at(v)*inner
		fmt.Fprintf(b, `<text class="tick middle" x="%.1f" y="%d">%s</text>`, x, top+tall+16, number(v))
	}
	fmt.Fprintf(b, `<text class="tick middle" x="%d" y="%d">%s</text>`, left+inner/2, height-8, template.HTMLEscapeString(c.X))
	fmt.Fprintf(b, `<text class="tick middle" transform="translate(14 %d) rotate(-90)">%s</text>`, top+tall/2, template.HTMLEscapeString(c.Y))
}

// scales are those of both axes: all values and the limit are within.
func (c Chart) scales() (xs, ys scale) {
	x, y := 0.0, c.Limit
	for _, l := range c.Lines {
		for i := range min(len(l.X), len(l.Y)) {
			x, y = max(x, l.X[i]), max(y, l.Y[i])
		}
	}
	return newScale(x, 8), newScale(y*1.05, 5)
}

func path(l Line, xs, ys scale) string {
	var b strings.Builder
	for i := range l.X {
		command := "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", command, left+xs.at(l.X[i])*inner, top+tall-ys.at(l.Y[i])*tall)
	}
	return b.String()
}

func text(x, y float64, class, s string) string {
	return fmt.Sprintf(`<text class="%s" x="%.1f" y="%.1f">%s</text>`, class, x, y, template.HTMLEscapeString(s))
}

// number is a value as people write it.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e6:
		return fmt.Sprintf("%.4gM", v/1e6)
	case a >= 1e4:
		return fmt.Sprintf("%.4gk", v/1e3)
	}
	return fmt.Sprintf("%.4g", v)
}
