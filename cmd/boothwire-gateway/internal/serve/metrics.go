package serve

import (
	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/gateway"
)

// figures writes the node's.
func figures(m metrics.Writer, st gateway.Stats) {
	m.One("node_sessions", metrics.Gauge, "Sessions in force.", st.Sessions)
	m.One("node_peers", metrics.Gauge, "WireGuard peers of sessions in force.", st.Peers)
	m.One("node_legs", metrics.Gauge, "Legs of the node's at relays.", st.Legs)
	m.One("node_admitted_total", metrics.Counter, "Grants put into force.", st.Admitted)
	m.One("node_refused_total", metrics.Counter, "Grants and downs refused.", st.Refused)
	m.One("node_ended_total", metrics.Counter, "Sessions that are over.", st.Ended)
	m.One("node_received_bytes_total", metrics.Counter, "Bytes of inner packets from devices.", st.Rx)
	m.One("node_sent_bytes_total", metrics.Counter, "Bytes of inner packets to devices.", st.Tx)
	m.One("node_forwarded_packets_total", metrics.Counter, "Inner packets that were let through.", st.Forwarded)
	m.One("node_echoes_total", metrics.Counter, "Echoes that the node answered itself.", st.Echoes)
	m.By("reason", "node_dropped_packets_total", metrics.Counter, "Inner packets that were not let through.", st.Dropped)
}
