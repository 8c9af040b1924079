package cli

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
)

// list prints what control lists: a table for people, or a JSON array.
func list[T any](a *app, items iter.Seq2[T, error], head string, row func(T) []any) error {
	if a.json {
		all := []T{}
		for item, err := range items {
			if err != nil {
				return err
			}
			all = append(all, item)
		}
		return a.printJSON(all)
	}
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(head, " ", "\t"))
	n := 0
	for item, err := range items {
		if err != nil {
			w.Flush()
			return err
		}
		n++
		for i, cell := range row(item) {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			text := clean(fmt.Sprint(cell))
			if text == "" {
				text = "-"
			}
			fmt.Fprint(w, text)
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if n == 0 {
		fmt.Fprintln(a.err, "none")
	}
	return nil
}

// show prints one thing: a line for each of its facts, or JSON.
func (a *app) show(v any, facts ...any) error {
	if a.json {
		return a.printJSON(v)
	}
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(facts); i += 2 {
		if text := clean(fmt.Sprint(facts[i+1])); text != "" {
			fmt.Fprintf(w, "%s\t%s\n", facts[i], text)
		}
	}
	return w.Flush()
}

func (a *app) printJSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		_, err = fmt.Fprintln(a.out, seen(b))
	}
	return err
}

// seen is JSON, with what would drive a terminal written as JSON can: U+009B alone begins
// an order to some.
func seen(text []byte) string {
	var b strings.Builder
	for _, r := range string(text) {
		if unicode.IsPrint(r) || r == '\n' {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// clean keeps what a device or a user wrote from driving the terminal, or from
// turning its text around.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// oneLine puts the lines of an error, which may have others within, behind each other,
// each once where it repeats itself.
func oneLine(s string) string {
	var text strings.Builder
	before := ""
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line == before:
			continue
		case strings.HasSuffix(before, ":"):
			text.WriteString(" ")
		case before != "":
			text.WriteString("; ")
		}
		text.WriteString(line)
		before = line
	}
	return clean(text.String())
}

// ago is how long ago t was, as people say it.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(max(d, 0).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// size is a number of bytes in the units that people read.
func size(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n)/unit, "KMGTPE"
	for f >= unit && len(units) > 1 {
		f, units = f/unit, units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", f, units[0])
}
