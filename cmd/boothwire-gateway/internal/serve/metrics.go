package serve

import (
	"context"

	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/gateway"
	"github.com/boothwire/boothwire/internal/health"
)

// figures writes the node's.
func figures(m metrics.Writer, st gateway.Stats) {
	m.One("node_sessions", metrics.Gauge, "Sessions in force.", st.Sessions)
	m.One("node_peers", metrics.Gauge, "WireGuard peers of sessions in force.", st.Peers)
	m.One("node_legs", metrics.Gauge, "Legs of the node's at relays.", st.Legs)
	m.One("node_admitted_total", metrics.Counter, "Grants put into force.", st.Admitted)
	m.By("code", "node_refused_total", metrics.Counter, "Grants and downs refused.", st.RefusedBy)
	m.By("code", "node_ended_total", metrics.Counter, "Sessions that are over; down: as control asked.", st.EndedBy)
	m.One("node_handshakes_total", metrics.Counter, "First handshakes of devices' keys.", st.Shaken)
	m.One("node_proofs_total", metrics.Counter, "First packets under devices' keys.", st.Proved)
	m.One("node_restored_sessions", metrics.Gauge, "Sessions that the journal had in force when the node began.", st.Restored)
	if j := st.Journal; j != nil {
		m.One("node_journal_bytes", metrics.Gauge, "Size of the journal.", j.Size)
		m.One("node_journal_errors_total", metrics.Counter, "Writes of the journal that failed.", j.Errors)
		m.One("node_journal_behind", metrics.Gauge, "Whether the journal is kept in memory only, 0 or 1.", metrics.Bit(j.Fault != ""))
	}
	m.One("node_control_up", metrics.Gauge, "Whether control speaks to the node, 0 or 1.", metrics.Bit(st.Reached))
	m.One("node_events_waiting", metrics.Gauge, "Events that control has not been told yet.", st.Waiting)
	m.One("node_events_lost_total", metrics.Counter, "Events that control was not told, because too many waited.", st.Lost)
	m.One("node_overlaps", metrics.Gauge, "Addresses and routes of the host within the pool of tunnel addresses.", len(st.Overlap))
	m.One("node_received_bytes_total", metrics.Counter, "Bytes of inner packets from devices.", st.Rx)
	m.One("node_sent_bytes_total", metrics.Counter, "Bytes of inner packets to devices.", st.Tx)
	m.One("node_forwarded_packets_total", metrics.Counter, "Inner packets that were let through.", st.Forwarded)
	m.One("node_echoes_total", metrics.Counter, "Echoes that the node answered itself.", st.Echoes)
	m.By("reason", "node_dropped_packets_total", metrics.Counter, "Inner packets that were not let through.", st.Dropped)
}

// ready says whether the node can take sessions, until ctx ends.
func ready(ctx context.Context, node *gateway.Node) func(context.Context) health.Report {
	return func(context.Context) (r health.Report) {
		if ctx.Err() != nil {
			r.Refuse("node", "it ends")
		} else if node.Ready() != nil {
			r.Refuse("control", "it is not reached")
		}
		if j := node.Stats().Journal; j != nil && j.Fault != "" {
			r.Limit("journal", "it is kept in memory only")
		}
		return r
	}
}
