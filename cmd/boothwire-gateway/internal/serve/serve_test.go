package serve

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/gateway"
)

// The relay has gone before the node does, whoever ends them.
func TestTogether(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name        string
		relay, node error // with which it ends by itself; nil: it does not
		want        error
	}{
		{"asked", nil, nil, nil},
		{"the relay breaks", broken, nil, broken},
		{"the node breaks", nil, broken, broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			gone := false
			relay := func(ctx context.Context) error {
				defer func() { gone = true }()
				if tt.relay != nil {
					return tt.relay
				}
				<-ctx.Done()
				return nil
			}
			node := func(ctx context.Context) error {
				if tt.node != nil {
					return tt.node
				}
				if tt.relay == nil {
					cancel()
				}
				<-ctx.Done()
				if !gone {
					t.Error("the node ended first")
				}
				return context.Cause(ctx)
			}
			if err := together(ctx, node, relay); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("ended with %v, want %v", err, tt.want)
			}
		})
	}
}

func TestFigures(t *testing.T) {
	var b strings.Builder
	figures(metrics.NewWriter(&b), gateway.Stats{Sessions: 2, Rx: 7, Dropped: map[string]uint64{"port": 3}, RefusedBy: map[string]uint64{"forged": 4}, Reached: true})
	for _, want := range []string{
		"boothwire_node_sessions 2\n", "boothwire_node_received_bytes_total 7\n",
		"boothwire_node_dropped_packets_total{reason=\"port\"} 3\n",
		"boothwire_node_refused_total{code=\"forged\"} 4\n", "boothwire_node_control_up 1\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
