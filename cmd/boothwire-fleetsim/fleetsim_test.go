//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/report"
)

// A small fleet, with every part as shipped. Times are no part of the test.
func TestSmallFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the programs and runs them")
	}
	if _, err := exec.LookPath("mosquitto"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("mosquitto is not installed")
		}
		t.Skip("mosquitto is not installed: apt-get install mosquitto")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir+"/", ".", "../boothwire-control", "../boothwire-gateway").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	file, page := filepath.Join(dir, "report.json"), filepath.Join(dir, "report.html")
	script := filepath.Join(dir, "small.toml")
	text := `
title = "A small fleet"
devices = 300
workers = 2
[[step]]
do = "wake"
devices = 295
within = "4s"
[[step]]
do = "upload"
devices = 10
rate = 400_000
for = "3s"
[[step]]
do = "hold"
for = "2s"
[[step]]
do = "churn"
per_second = 10
stay = "1s"
for = "2s"
[[step]]
do = "close"
[[step]]
do = "climb"
from = 10
step = 10
to = 20
for = "1s"
`
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(filepath.Join(dir, "boothwire-fleetsim"), "-json", file, "-html", page, script)
	cmd.Stdout, cmd.Stderr = &said, &said
	const short = 3 // the churn wants more devices than are free
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != short {
		t.Fatalf("%v\n%s", err, said.Bytes())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Outcomes) != 7 {
		t.Fatalf("%d steps:\n%s", len(r.Outcomes), said.Bytes())
	}
	for i, o := range r.Outcomes {
		if starved := o.Do == "churn"; o.Holds() == starved {
			t.Errorf("step %d, %s, holds: %v\n%s", i, o.What, o.Holds(), said.Bytes())
		}
	}
	check(t, &r)
	if html, err := os.ReadFile(page); err != nil || bytes.Count(html, []byte("<svg")) != 7 {
		t.Errorf("a page with %d plots, %v", bytes.Count(html, []byte("<svg")), err)
	}
}

func check(t *testing.T, r *report.Report) {
	wake, upload, hold, churn, end := r.Outcomes[0], r.Outcomes[1], r.Outcomes[2], r.Outcomes[3], r.Outcomes[4]
	if wake.Ready != 295 || wake.Wake.N != 295 || wake.Wake.P99 <= 0 || wake.Device.Opened != 295 || wake.Device.Lost != 0 {
		t.Errorf("the wake: %+v", wake)
	}
	// How much comes in time is the machine's; never more than what was asked for, but for
	// the first chunk, which goes at once.
	if c := upload.Carried; c.Sessions != 10 || c.Least <= 0 || c.Most > 500_000 || c.Packets == 0 {
		t.Errorf("the upload: %+v", c)
	}
	if hold.Ready != 295 || end.Ready != 295 {
		t.Errorf("held %d, closed %d", hold.Ready, end.Ready)
	}
	if n := churn.Failed["no_free_device"]; churn.Ready < 5 || n == 0 || churn.Ready+n != churn.Asked {
		t.Errorf("the churn: %+v", churn)
	}
	if r.Ceiling == nil || r.Ceiling.Held != 20 || r.Ceiling.Broke != 0 {
		t.Errorf("the ceiling: %+v", r.Ceiling)
	}
	for _, part := range []string{"devices", "control", "broker", "node-1", "fleetsim"} {
		if wake.Use[part].RSS == 0 {
			t.Errorf("nothing was measured of %s", part)
		}
	}
	last := r.Samples[len(r.Samples)-1].Parts["node-1"].Counts
	if wake.Use["devices"].CPU == 0 || last["node_admitted_total"] < 295 || last["node_sessions"] != 0 {
		t.Errorf("the last of %d samples has of the node %v", len(r.Samples), last)
	}
	if len(r.Costs) == 0 || len(r.Peaks) == 0 {
		t.Error("costs or peaks are missing")
	}
}
