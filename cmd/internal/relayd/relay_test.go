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
	Metrics(metrics.NewWriter(&b), server.Stats{
		Sessions: 2, Legs: 4, WebSockets: 1, Replaced: 7, Traffic: server.Traffic{Bytes: 10, Aged: 1, Crowded: 2, Missed: 3, Excess: 4},
		Reasons: map[string]uint64{"forged": 3}, Wait: server.Histogram{Bounds: []float64{0.5}, Counts: []uint64{2, 1}, Sum: 9},
		QueueAge: server.Histogram{Bounds: []float64{0.001}, Counts: []uint64{5, 0}},
	})
	for _, want := range []string{
		"# TYPE boothwire_relay_sessions gauge\nboothwire_relay_sessions 2\n",
		"# HELP boothwire_relay_legs Ends of sessions that are there.\n",
		"boothwire_relay_transport_legs{transport=\"upgrade\"} 3\nboothwire_relay_transport_legs{transport=\"websocket\"} 1\n",
		"boothwire_relay_received_bytes_total 10\n",
		"{reason=\"age\"} 1\nboothwire_relay_dropped_bytes_total{reason=\"alone\"} 3\nboothwire_relay_dropped_bytes_total{reason=\"rate\"} 4\nboothwire_relay_dropped_bytes_total{reason=\"room\"} 2\n",
		"boothwire_relay_replaced_total 7\n",
		"boothwire_relay_pair_wait_seconds_bucket{le=\"0.5\"} 2\n",
		"boothwire_relay_queue_age_seconds_bucket{le=\"0.001\"} 5\n",
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
