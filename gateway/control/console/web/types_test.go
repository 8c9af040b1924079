package web

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/boothwire/boothwire/internal/browsertest"
	"github.com/boothwire/boothwire/internal/netlab"
)

// TestTypes checks the types of the pages' modules and of what tests them, as their
// JSDoc says them.
func TestTypes(t *testing.T) {
	folder := browsertest.Tools(t)
	tsc := filepath.Join("node_modules", "typescript", "bin", "tsc")
	if _, err := os.Stat(filepath.Join(folder, tsc)); err != nil {
		netlab.Missing(t, "this test needs the console's npm packages (make assets)")
	}
	for _, project := range []string{".", "test"} {
		cmd := exec.CommandContext(t.Context(), "node", tsc, "--project", project)
		cmd.Dir = folder
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", project, err, out)
		}
	}
}

// TestLockfile keeps registries out: packages are known by their hashes, from wherever
// npm fetches them.
func TestLockfile(t *testing.T) {
	text, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`"resolved"|https?://[^"]*\.tgz`).Find(text); m != nil {
		t.Errorf("package-lock.json names where a package came from: %s", m)
	}
	if n, hashes := len(regexp.MustCompile(`"node_modules/`).FindAll(text, -1)), len(regexp.MustCompile(`"integrity": "sha512-`).FindAll(text, -1)); n == 0 || n != hashes {
		t.Errorf("package-lock.json has %d packages and %d hashes", n, hashes)
	}
}

// TestFleet holds the list that devices change one by one beside one that is made anew
// after each change.
func TestFleet(t *testing.T) {
	netlab.Require(t, "node")
	for _, seed := range []string{"1", "2", "3"} {
		if out, err := exec.CommandContext(t.Context(), "node", filepath.Join("test", "fleet.mjs"), seed).CombinedOutput(); err != nil {
			t.Errorf("seed %s: %v\n%s", seed, err, out)
		}
	}
}
