// Package figures shows a control to Prometheus.
package figures

import (
	"time"

	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/gateway/control"
)

// Write writes a control's.
func Write(m metrics.Writer, st control.Stats) {
	m.One("control_devices", metrics.Gauge, "Devices that are registered.", st.Devices)
	m.One("control_strangers", metrics.Gauge, "Devices that were heard of and are not registered.", st.Strangers)
	m.One("control_sessions", metrics.Gauge, "Sessions that are open.", st.Sessions)
	m.One("control_nodes", metrics.Gauge, "Nodes that are connected.", st.Nodes)
	m.One("control_statuses_total", metrics.Counter, "Messages from devices.", st.Statuses)
	m.One("control_statuses_refused_total", metrics.Counter, "Messages from devices that were not believed.", st.Refused)
	m.One("control_statuses_replayed_total", metrics.Counter, "Messages from devices that were seen before or overtaken.", st.Replayed)
	m.One("control_commands_total", metrics.Counter, "Commands that were handed to a line.", st.Commands)
	m.One("control_commands_failed_total", metrics.Counter, "Commands that no line took.", st.SendFailed)
	m.One("control_sessions_total", metrics.Counter, "Sessions that were opened.", st.Opened)
	m.One("control_sessions_failed_total", metrics.Counter, "Sessions that ended for a fault.", st.Failed)
	m.By("path", "control_node_path_seconds_total", metrics.Counter, "Time that packets between devices and nodes went by each kind of path, as the devices say.", seconds(st.NodePaths))
	m.By("path", "control_end_to_end_path_seconds_total", metrics.Counter, "Time that packets of end-to-end sessions went by each kind of path, as the devices say.", seconds(st.EndToEndPaths))
}

func seconds(t control.PathTimes) map[string]uint64 {
	return map[string]uint64{"direct": uint64(t.Direct / time.Second), "relay": uint64(t.Relay / time.Second)}
}
