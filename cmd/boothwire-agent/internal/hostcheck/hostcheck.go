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
	show := preflight.Write
	if *asJSON {
		show = asList
	}
	if err := show(out, found); err != nil {
		return err
	}
	return failure(found)
}

func asList(out io.Writer, found []preflight.Result) error {
	all := make([]result, len(found))
	for i, r := range found {
		all[i].Result = r
		all[i].What, all[i].Todo = preflight.Explain(r.Check, r.Code)
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(all)
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
