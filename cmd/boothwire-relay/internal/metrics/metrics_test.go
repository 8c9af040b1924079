package metrics

import (
	"strings"
	"testing"

	"github.com/boothwire/boothwire/relay/server"
)

func TestWrite(t *testing.T) {
	var b strings.Builder
	write(&b, server.Stats{Sessions: 2, Legs: 4, Bytes: 10, Reasons: map[string]uint64{"forged": 3, "expired": 1}})
	for _, want := range []string{
		"# TYPE boothwire_relay_sessions gauge\nboothwire_relay_sessions 2\n",
		"# HELP boothwire_relay_legs Ends of sessions that are there.\n",
		"boothwire_relay_received_bytes_total 10\n",
		"boothwire_relay_refused_total{code=\"expired\"} 1\nboothwire_relay_refused_total{code=\"forged\"} 3\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
