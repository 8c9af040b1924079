// Package hostcheck prints what the agent would tell control of its host.
package hostcheck

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/boothwire/boothwire/tunnel/preflight"
)

// result is a result with the words for it.
type result struct {
	preflight.Result
	What string `json:"what"`
	Todo string `json:"todo,omitempty"`
}

// Run checks the host as cfg says and prints the results, with -json among args as JSON.
// Its error says which checks failed.
func Run(ctx context.Context, cfg *preflight.Config, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("preflight", flag.ContinueOnError)
	flags.SetOutput(out)
	asJSON := flags.Bool("json", false, "print JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("preflight takes no %q", flags.Arg(0))
	}
	found := preflight.Run(ctx, cfg)
	all := make([]result, len(found))
	for i, r := range found {
		all[i].Result = r
		all[i].What, all[i].Todo = preflight.Explain(r.Check, r.Code)
	}
	show := table
	if *asJSON {
		show = asList
	}
	if err := show(out, all); err != nil {
		return err
	}
	return failure(found)
}

func asList(out io.Writer, all []result) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(all)
}

// table has a line for each check, and one for what to do.
func table(out io.Writer, all []result) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, r := range all {
		what := r.What
		if r.Detail != "" {
			what += " (" + r.Detail + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.State, r.Check, what)
		if r.Todo != "" {
			fmt.Fprintf(w, "\t\t%s\n", r.Todo)
		}
	}
	return w.Flush()
}

// failure names the checks that failed.
func failure(found []preflight.Result) error {
	var names []string
	for _, r := range found {
		if r.State == preflight.Fail {
			names = append(names, r.Check)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return errors.New("this host is not ready for sessions: " + strings.Join(names, ", "))
}
