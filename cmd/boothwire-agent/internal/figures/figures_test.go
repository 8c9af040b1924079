package figures

import (
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/agent"
)

func TestWrite(t *testing.T) {
	var b strings.Builder
	Write(metrics.NewWriter(&b), agent.Stats{Sessions: 3, Rx: 1 << 40, Tx: 2, Spent: tunnel.PathTimes{Direct: 90 * time.Second, Relay: 3999 * time.Millisecond}},
		agent.Status{State: signaling.Connected})
	for _, want := range []string{
		"boothwire_agent_sessions 1\n", "boothwire_agent_sessions_total 3\n", "boothwire_agent_received_bytes_total 1099511627776\n",
		"# TYPE boothwire_agent_path_seconds_total counter\nboothwire_agent_path_seconds_total{path=\"direct\"} 90\nboothwire_agent_path_seconds_total{path=\"relay\"} 3\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
