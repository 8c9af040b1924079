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
	file := filepath.Join(dir, "report.json")
	script := filepath.Join(dir, "small.toml")
	text := `
title = "A small fleet"
devices = 200
[[step]]
do = "wake"
within = "4s"
[[step]]
do = "close"
`
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(filepath.Join(dir, "boothwire-fleetsim"), "-json", file, script)
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if err != nil {
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
	if len(r.Outcomes) != 2 || !r.Holds() {
		t.Fatalf("the report does not hold:\n%s", said.Bytes())
	}
	wake, end := r.Outcomes[0], r.Outcomes[1]
	if wake.Ready != 200 || wake.Wake.N != 200 || wake.Wake.P99 <= 0 || wake.Device.Opened != 200 || wake.Device.Lost != 0 {
		t.Errorf("the wake: %+v", wake)
	}
	if end.Ready != 200 {
		t.Errorf("the end: %+v", end)
	}
	for _, part := range []string{"devices", "control", "broker", "node-1", "fleetsim"} {
		if wake.Use[part].RSS == 0 {
			t.Errorf("nothing was measured of %s", part)
		}
	}
	if wake.Use["devices"].CPU == 0 || r.Samples[len(r.Samples)-1].Parts["node-1"].Counts["node_admitted_total"] != 200 {
		t.Errorf("figures are missing in the last of %d samples", len(r.Samples))
	}
}
