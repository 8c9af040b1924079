package figures

import (
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/gateway/control"
)

func TestWrite(t *testing.T) {
	var b strings.Builder
	Write(metrics.NewWriter(&b), control.Stats{Devices: 10000, Sessions: 2, NodePaths: control.PathTimes{Direct: time.Hour},
		EndToEndPaths: control.PathTimes{Direct: 90 * time.Second, Relay: 3 * time.Second}})
	for _, want := range []string{
		"boothwire_control_devices 10000\n", "boothwire_control_sessions 2\n",
		"boothwire_control_node_path_seconds_total{path=\"direct\"} 3600\nboothwire_control_node_path_seconds_total{path=\"relay\"} 0\n",
		"boothwire_control_end_to_end_path_seconds_total{path=\"direct\"} 90\nboothwire_control_end_to_end_path_seconds_total{path=\"relay\"} 3\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
