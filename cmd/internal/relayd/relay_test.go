package relayd

import (
	"strings"
	"testing"

	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/server"
)

func TestMetrics(t *testing.T) {
	var b strings.Builder
	Metrics(metrics.NewWriter(&b), server.Stats{Sessions: 2, Legs: 4, Bytes: 10, Reasons: map[string]uint64{"forged": 3}})
	for _, want := range []string{
		"# TYPE boothwire_relay_sessions gauge\nboothwire_relay_sessions 2\n",
		"# HELP boothwire_relay_legs Ends of sessions that are there.\n",
		"boothwire_relay_received_bytes_total 10\n",
		"boothwire_relay_refused_total{code=\"forged\"} 3\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestKeyStays(t *testing.T) {
	store := keys.NewMemory()
	key, err := OpenKey(store)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := OpenKey(store); err != nil || again.Public() != key.Public() {
		t.Errorf("another key: %v", err)
	}
	if err := store.Save(keyName, []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(store); err == nil {
		t.Error("took nonsense for a key")
	}
}
