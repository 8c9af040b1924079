package gateway

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// BenchmarkRestart measures what the journal costs a node of 10,000 sessions: how long
// a start takes with all of them on the userspace plane, and how long one change takes
// with a journal and without. Run it with -benchtime 1x.
func BenchmarkRestart(b *testing.B) {
	const sessions = 10_000
	a := newAuthority(b, "test")
	cfg := Config{Store: keys.NewMemory(), Journal: filepath.Join(b.TempDir(), "journal")}
	start := func(cfg Config, o opener) *Node {
		n, err := open(context.Background(), "wg-bj-01", a.roots, &cfg, o, systemClock())
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	p50 := func(cfg Config) time.Duration {
		_, opener := newMemoryPlane()
		n := start(cfg, opener)
		defer n.Close()
		took := make([]time.Duration, sessions)
		for i := range took {
			token := a.sign(b, &newPair(n, i, keys.TCP(22)).grant)
			began := time.Now()
			if err := n.Admit(context.Background(), token); err != nil {
				b.Fatal(err)
			}
			took[i] = time.Since(began)
		}
		slices.Sort(took)
		return took[sessions/2]
	}
	without := p50(Config{Store: cfg.Store})
	with := p50(cfg)
	size := must(os.Stat(cfg.Journal)).Size()
	began := time.Now()
	n := start(cfg, openPlane)
	took := time.Since(began)
	if got := n.Stats().Restored; got != sessions {
		b.Fatalf("%d sessions were found again", got)
	}
	n.Close()
	fmt.Printf("\nbench gateway/restart-10k %.2f s info - ok\n", took.Seconds())
	fmt.Printf("bench gateway/journal-bytes %d bytes-per-session info - ok\n", size/sessions)
	fmt.Printf("bench gateway/admit-journal-us %.0f us info - ok\n", float64(with.Nanoseconds())/1e3)
	fmt.Printf("bench gateway/admit-us %.0f us info - ok\n", float64(without.Nanoseconds())/1e3)
}
