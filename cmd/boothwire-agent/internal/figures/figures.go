// Package figures shows an agent to Prometheus.
package figures

import (
	"time"

	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel/agent"
)

// Write writes an agent's.
func Write(m metrics.Writer, st agent.Stats, now agent.Status) {
	open := 0
	switch now.State {
	case signaling.Connecting, signaling.Connected, signaling.Degraded:
		open = 1
	}
	m.One("agent_sessions", metrics.Gauge, "Sessions that are open, 0 or 1.", open)
	m.One("agent_sessions_total", metrics.Counter, "Sessions that became ready.", st.Sessions)
	m.One("agent_failed_total", metrics.Counter, "Sessions that ended for a fault.", st.Failed)
	m.One("agent_refused_total", metrics.Counter, "Commands that were refused.", st.Refused)
	m.One("agent_connects_total", metrics.Counter, "Times that the line to control came up.", st.Reconnects)
	m.One("agent_received_bytes_total", metrics.Counter, "Bytes of packets out of the tunnels of sessions.", st.Rx)
	m.One("agent_sent_bytes_total", metrics.Counter, "Bytes of packets into the tunnels of sessions.", st.Tx)
	m.By("path", "agent_path_seconds_total", metrics.Counter, "Time that packets of sessions went by each kind of path.", map[string]uint64{
		"direct": uint64(st.Spent.Direct / time.Second), "relay": uint64(st.Spent.Relay / time.Second),
	})
}
