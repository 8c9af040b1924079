package structure

import (
	"bufio"
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a program links is judged by its symbols: an import alone costs nothing
// when the linker drops all of it.
const (
	sqlite    = "modernc.org/sqlite."
	server    = "net/http.(*Server)."
	mqtt3     = "github.com/eclipse/paho.mqtt.golang."
	mqtt5     = "github.com/eclipse/paho.golang/"
	broker    = "github.com/mochi-mqtt/"
	ownLine   = module + "/signaling/mqtt."
	httpsLine = module + "/signaling/https."
)

// TestWhatProgramsLink builds a program for each promise. The ones that must link
// a thing show that the symbol is what it is called. What go build reads go test's
// cache does not know; the tests beside this one read every source themselves.
func TestWhatProgramsLink(t *testing.T) {
	if testing.Short() {
		t.Skip("short: builds five programs")
	}
	for _, p := range []struct {
		name, path string
		links      []string
		never      []string
	}{
		{"the core alone", "internal/structure/testdata/core", nil,
			[]string{sqlite, server, mqtt3, mqtt5, broker, ownLine, httpsLine}},
		{"an agent with the host's line", "internal/structure/testdata/agent", nil,
			[]string{sqlite, server, mqtt3, mqtt5, broker, ownLine, httpsLine}},
		{"a ride on MQTT 3.1.1", "internal/structure/testdata/paho3", []string{mqtt3},
			[]string{sqlite, mqtt5, broker, ownLine, httpsLine}},
		{"a ride on MQTT 5", "internal/structure/testdata/paho5", []string{mqtt5},
			[]string{sqlite, mqtt3, broker, ownLine, httpsLine}},
		{"control", "cmd/boothwire-control", []string{sqlite, server, mqtt5, ownLine, httpsLine},
			[]string{mqtt3, broker}},
	} {
		t.Run(p.name, func(t *testing.T) {
			found := symbols(t, p.path, append(slices.Clone(p.links), p.never...))
			for _, s := range p.links {
				if found[s] == "" {
					t.Errorf("no symbol %s: is it still called so?", s)
				}
			}
			for _, s := range p.never {
				if found[s] != "" {
					t.Errorf("links %s", found[s])
				}
			}
		})
	}
}

// symbols builds a program and returns its first symbol that begins with each of
// the given words.
func symbols(t *testing.T, path string, words []string) map[string]string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-w", "-o", bin, "./"+path)
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", path, err, out)
	}
	out, err := exec.CommandContext(t.Context(), "go", "tool", "nm", bin).Output()
	if err != nil {
		t.Fatalf("go tool nm: %v", err)
	}
	found := make(map[string]string)
	n := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		if len(f) < 3 {
			continue
		}
		// The linker writes a dot of a path's last element as %2e.
		name := strings.ReplaceAll(strings.Join(f[2:], " "), "%2e", ".")
		for _, w := range words {
			if found[w] == "" && strings.HasPrefix(name, w) {
				found[w] = name
			}
		}
	}
	if n < 1000 {
		t.Fatalf("%s has only %d symbols", path, n)
	}
	return found
}
