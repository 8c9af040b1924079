//go:build linux

package relaybench

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

var (
	rounds  = flag.Int("rounds", 5, "measurements of each kind and side")
	window  = flag.Duration("window", 3*time.Second, "time of one measurement")
	only    = flag.String("only", "", "the measurements to run, a regular expression")
	derper  = flag.String("derper", "", "a derper that is built already")
	relay   = flag.String("relay", "", "a boothwire-relay that is built already")
	profile = flag.String("profile", "", "write CPU profiles of our server to this directory")
)

// roleEnv makes this test binary the load of a measurement instead.
const roleEnv = "BOOTHWIRE_RELAYBENCH"

func TestMain(m *testing.M) {
	text := os.Getenv(roleEnv)
	if text == "" {
		os.Exit(m.Run())
	}
	var r role
	err := json.Unmarshal([]byte(text), &r)
	if err == nil {
		var res result
		if res, err = r.run(context.Background()); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(res)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "relaybench:", err)
		os.Exit(1)
	}
}
