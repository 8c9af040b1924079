//go:build linux

package wgbench

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
)

var (
	pairs   = flag.Int("pairs", 21, "pairs of measurements")
	window  = flag.Duration("window", defaultWindow, "time of one measurement")
	control = flag.Bool("control", false, "measure the plain Bind against itself: what the method's noise is")
	profile = flag.String("profile", "", "write CPU profiles of the ends to this directory")
)

// roleEnv makes this test binary one process of a measurement instead.
const roleEnv = "BOOTHWIRE_WGBENCH"

func TestMain(m *testing.M) {
	text := os.Getenv(roleEnv)
	if text == "" {
		os.Exit(m.Run())
	}
	var r role
	err := json.Unmarshal([]byte(text), &r)
	if err == nil {
		err = r.run(os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wgbench:", err)
		os.Exit(1)
	}
}
