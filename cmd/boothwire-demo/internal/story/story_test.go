package story

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/booth"
	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/fleet"
	"github.com/boothwire/boothwire/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func play(t *testing.T, spoil func(*fleet.Fleet)) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	f, err := fleet.Start(ctx, t.TempDir(), 2, 1<<20, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	spoil(f)
	var told bytes.Buffer
	s := New(&told)
	if err := s.Play(ctx, f); err != nil {
		return told.String(), err
	}
	s.Invite(f)
	return told.String(), nil
}

func TestStory(t *testing.T) {
	told, err := play(t, func(*fleet.Fleet) {})
	if err != nil {
		t.Fatalf("%v\n%s", err, told)
	}
	for _, want := range []string{"Ticket 4711", "ready", "(1.0 MiB)", "100 %", "1048576 bytes", "as on the booth", "job-0017.js", "The printer says: ready.",
		"goroutines", "sessions at the node          0    0", "ticket 4711, closed",
		"Path: relay, to 127.0.0.1:", "The router lets UDP out again, after ", "Path: direct, to 127.0.0.1:", "ticket 4712, connected, path direct",
		"nothing is left of it", "BOOTHWIRE_TOKEN="} {
		if !strings.Contains(told, want) {
			t.Errorf("the story does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(told)
	}
}

// The story is no show: what does not work is its end.
func TestStoryThatFails(t *testing.T) {
	_, err := play(t, func(f *fleet.Fleet) { os.Remove(filepath.Join(f.Kiosks[0].Dir, booth.Log)) })
	if err == nil || !strings.Contains(err.Error(), "the service call: sftp") {
		t.Errorf("without a log: %v", err)
	}
}

func TestResidueSeesWhatIsLeft(t *testing.T) {
	before := residue{interfaces: []string{"lo"}, counts: []count{{"goroutines", 7}, {"open files", 9}}}
	after := residue{interfaces: []string{"bw0", "lo"}, counts: []count{{"goroutines", 8}, {"open files", 8}}}
	if got := strings.Join(after.more(before), "; "); got != "the interface bw0; goroutines: 8, were 7" {
		t.Errorf("got %q", got)
	}
	if got := before.more(before); len(got) != 0 {
		t.Errorf("nothing changed: %q", got)
	}
}
