package figures

import (
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console"
)

func TestWrite(t *testing.T) {
	var b strings.Builder
	Write(metrics.NewWriter(&b), control.Stats{Devices: 10000, FailedBy: map[string]uint64{"no_proof": 5}, NodeLoads: []control.NodeLoad{{Name: "wg-1", Connected: true, Sessions: 7}},
		Wakes: map[control.Wake]control.Histogram{{Kind: "node", Outcome: "ready"}: {Bounds: []float64{1}, Counts: []uint64{3, 1}, Sum: 4}}, Sessions: 2, Addresses: map[string]control.Addresses{"operator": {Size: 32, Busy: 3, Resting: 9}}, NodePaths: control.PathTimes{Direct: time.Hour},
		Store: control.StoreStats{Dropped: 3}, EndToEndPaths: control.PathTimes{Direct: 90 * time.Second, Relay: 3 * time.Second}})
	for _, want := range []string{
		"boothwire_control_devices 10000\n", "boothwire_control_sessions 2\n",
		"boothwire_control_sessions_failed_total{code=\"no_proof\"} 5\n", "boothwire_control_node_up{node=\"wg-1\"} 1\n", "boothwire_control_node_sessions{node=\"wg-1\"} 7\n",
		"boothwire_control_wake_seconds_bucket{kind=\"node\",outcome=\"ready\",le=\"1\"} 3\n", "boothwire_control_store_lag_seconds 0\n",
		"boothwire_control_store_dropped_total 3\n",
		"boothwire_control_addresses{kind=\"operator\",state=\"busy\"} 3\n", "boothwire_control_addresses{kind=\"operator\",state=\"resting\"} 9\n",
		"boothwire_control_addresses{kind=\"operator\",state=\"free\"} 20\n",
		"boothwire_control_node_path_seconds_total{path=\"direct\"} 3600\nboothwire_control_node_path_seconds_total{path=\"relay\"} 0\n",
		"boothwire_control_end_to_end_path_seconds_total{path=\"direct\"} 90\nboothwire_control_end_to_end_path_seconds_total{path=\"relay\"} 3\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestDesktops(t *testing.T) {
	var b strings.Builder
	Desktops(metrics.NewWriter(&b), console.DesktopStats{Open: 2, Opened: 5, FromDev: 700, ToDev: 70, Ended: map[string]uint64{"closed": 3, "certificate_wrong": 1}})
	for _, want := range []string{
		"boothwire_console_desktops 2\n", "boothwire_console_desktops_opened_total 5\n", "boothwire_console_desktops_ended_total{code=\"certificate_wrong\"} 1\n",
		"boothwire_console_desktop_from_device_bytes_total 700\n", "boothwire_console_desktop_to_device_bytes_total 70\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestLogins(t *testing.T) {
	var b strings.Builder
	Logins(metrics.NewWriter(&b), console.LoginStats{Logins: 7, Revoked: 5, Unrevoked: 2})
	for _, want := range []string{"boothwire_console_logins 7\n", "boothwire_console_refresh_tokens_revoked_total 5\n", "boothwire_console_refresh_tokens_unrevoked_total 2\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
