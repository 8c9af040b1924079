package preflight

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Write prints results: a line for each check, and one for what to do. What this release
// has no words for stands there by its code.
func Write(out io.Writer, results []Result) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, r := range results {
		what, todo := Explain(r.Check, r.Code)
		if what == "" {
			what = r.Code
		}
		if r.Detail != "" {
			what += " (" + r.Detail + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.State, r.Check, what)
		if todo != "" {
			fmt.Fprintf(w, "\t\t%s\n", todo)
		}
	}
	return w.Flush()
}
