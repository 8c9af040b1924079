// Package figures shows a control to Prometheus.
package figures

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console"
)

// Member writes whether a member has the lead, and, while it has, a control's.
func Member(m metrics.Writer, c *control.Member) {
	m.One("control_leads", metrics.Gauge, "Whether this process decides, 0 or 1: of several one does.", metrics.Bit(c.Leads()))
	if st, ok := c.Stats(); ok {
		Write(m, st)
	}
}

// Desktops writes those of a console.
func Desktops(m metrics.Writer, st console.DesktopStats) {
	m.One("console_desktops", metrics.Gauge, "Desktops that are open in browsers, or about to be.", st.Open)
	m.One("console_desktops_opened_total", metrics.Counter, "Desktops that came up.", st.Opened)
	m.By("code", "console_desktops_ended_total", metrics.Counter, "Desktops that ended, or did not come up, by why.", st.Ended)
	m.One("console_desktop_from_device_bytes_total", metrics.Counter, "Bytes of desktops that ended, to browsers.", st.FromDev)
	m.One("console_desktop_to_device_bytes_total", metrics.Counter, "Bytes of desktops that ended, from browsers.", st.ToDev)
}

// Logins writes those of a console.
func Logins(m metrics.Writer, st console.LoginStats) {
	m.One("console_logins", metrics.Gauge, "Browsers that are signed in, at the control that decides.", st.Logins)
	m.One("console_refresh_tokens_revoked_total", metrics.Counter, "Refresh tokens that the provider revoked when nobody needed them any more.", st.Revoked)
	m.One("console_refresh_tokens_unrevoked_total", metrics.Counter, "Refresh tokens that it should have revoked, and did not.", st.Unrevoked)
}

// Write writes a control's.
func Write(m metrics.Writer, st control.Stats) {
	m.One("control_devices", metrics.Gauge, "Devices that are registered.", st.Devices)
	m.One("control_strangers", metrics.Gauge, "Devices that were heard of and are not registered.", st.Strangers)
	m.One("control_sessions", metrics.Gauge, "Sessions that are open.", st.Sessions)
	m.By("state", "control_session_states", metrics.Gauge, "Sessions about which something is left to be done, by state.", counts(st.States))
	m.One("control_statuses_total", metrics.Counter, "Messages from devices.", st.Statuses)
	m.By("code", "control_statuses_refused_total", metrics.Counter, "Messages from devices that were not believed.", st.RefusedBy)
	m.One("control_statuses_replayed_total", metrics.Counter, "Messages from devices that were seen before or overtaken.", st.Replayed)
	m.One("control_commands_total", metrics.Counter, "Commands that were handed to a line.", st.Commands)
	m.One("control_commands_failed_total", metrics.Counter, "Commands that no line took.", st.SendFailed)
	m.One("control_commands_waiting", metrics.Gauge, "Commands that wait for a line.", st.Waiting)
	m.One("control_wakes_waiting", metrics.Gauge, "Devices that wait for their turn to be woken.", st.Queued)
	m.One("control_sessions_moving", metrics.Gauge, "Sessions that are on their way to another node.", st.Moving)
	m.One("control_sessions_moved_total", metrics.Counter, "Sessions that came to another node.", st.Moved)
	m.One("control_sessions_total", metrics.Counter, "Sessions that were opened.", st.Opened)
	m.By("code", "control_sessions_failed_total", metrics.Counter, "Sessions that ended for a fault.", st.FailedBy)
	m.Histograms("control_wake_seconds", "Time from a session's first wake to what came of it.", wakes(st))
	m.Histograms("control_stage_seconds", "Time to each step of sessions that became ready: a device's from when it received the command, the others from when control was asked.", stages(st))
	m.By("path", "control_node_path_seconds_total", metrics.Counter, "Time that packets between devices and nodes went by each kind of path, as the devices say.", seconds(st.NodePaths))
	m.By("path", "control_end_to_end_path_seconds_total", metrics.Counter, "Time that packets of end-to-end sessions went by each kind of path, as the devices say.", seconds(st.EndToEndPaths))
	m.Each("control_addresses", metrics.Gauge, "Tunnel addresses of the pool, by who they are for, and whether they are in use, at rest, or can be had.", addresses(st))
	nodes(m, st)
	store(m, st.Store)
}

func addresses(st control.Stats) []metrics.Figure {
	var all []metrics.Figure
	for _, kind := range slices.Sorted(maps.Keys(st.Addresses)) {
		u := st.Addresses[kind]
		for _, f := range []struct {
			state string
			n     int
		}{{"busy", u.Busy}, {"resting", u.Resting}, {"free", u.Free()}} {
			all = append(all, metrics.Figure{Labels: metrics.Labels{"kind", kind, "state", f.state}, Value: f.n})
		}
	}
	return all
}

func nodes(m metrics.Writer, st control.Stats) {
	m.By("state", "control_nodes", metrics.Gauge, "Nodes, by state.", counts(st.NodeState))
	var up, sessions []metrics.Figure
	for _, n := range st.NodeLoads {
		l := metrics.Labels{"node", n.Name}
		up = append(up, metrics.Figure{Labels: l, Value: metrics.Bit(n.Connected)})
		sessions = append(sessions, metrics.Figure{Labels: l, Value: n.Sessions})
	}
	m.Each("control_node_up", metrics.Gauge, "Whether the node follows control, 0 or 1.", up)
	m.Each("control_node_sessions", metrics.Gauge, "Sessions that are open on the node.", sessions)
}

func store(m metrics.Writer, st control.StoreStats) {
	m.One("control_store_waiting", metrics.Gauge, "Writes, audit rows among them, that wait for the database.", st.Waiting)
	m.One("control_store_lag_seconds", metrics.Gauge, "How long the oldest of them has waited.", st.Lag.Seconds())
	m.One("control_store_failed_total", metrics.Counter, "Transactions that the database did not take.", st.Failed)
	m.One("control_store_dropped_total", metrics.Counter, "Writes that were given up because too many waited for the database.", st.Dropped)
	m.Histogram("control_store_commit_seconds", "Time that transactions took.", st.Commits)
}

// Lines writes whether the line to the broker is up; it is no figure of control's own.
func Lines(m metrics.Writer, broker interface {
	Up() bool
	Dropped() uint64
}) {
	m.Each("control_line_up", metrics.Gauge, "Whether the line to devices is up, 0 or 1.", []metrics.Figure{
		{Labels: metrics.Labels{"line", "mqtt"}, Value: metrics.Bit(broker.Up())}})
	m.One("control_statuses_dropped_total", metrics.Counter, "Messages from devices that were dropped because too many waited.", broker.Dropped())
}

func wakes(st control.Stats) []metrics.Figure {
	order := slices.SortedFunc(maps.Keys(st.Wakes), func(a, b control.Wake) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Outcome, b.Outcome))
	})
	var all []metrics.Figure
	for _, k := range order {
		all = append(all, metrics.Figure{Labels: metrics.Labels{"kind", k.Kind, "outcome", k.Outcome}, Value: st.Wakes[k]})
	}
	return all
}

func stages(st control.Stats) []metrics.Figure {
	order := slices.SortedFunc(maps.Keys(st.Stages), func(a, b control.Rung) int {
		return cmp.Or(cmp.Compare(a.By, b.By), cmp.Compare(a.Stage, b.Stage))
	})
	var all []metrics.Figure
	for _, k := range order {
		all = append(all, metrics.Figure{Labels: metrics.Labels{"by", k.By, "stage", string(k.Stage)}, Value: st.Stages[k]})
	}
	return all
}

func counts(by map[string]int) map[string]uint64 {
	all := make(map[string]uint64, len(by))
	for k, n := range by {
		all[k] = uint64(n)
	}
	return all
}

func seconds(t control.PathTimes) map[string]uint64 {
	return map[string]uint64{"direct": uint64(t.Direct / time.Second), "relay": uint64(t.Relay / time.Second)}
}
