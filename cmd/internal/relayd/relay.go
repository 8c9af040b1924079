package relayd

import (
	"context"
	"fmt"
	"net"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/server"
)

// A Relay listens, and serves when it is told to.
type Relay struct {
	*server.Server
	ln  net.Listener
	key keys.PublicKey
}

// Open opens the relay's port; roots vouch for tokens.
func Open(cfg *Config, key keys.PrivateKey, roots *keys.Roots, log *zap.Logger) (*Relay, error) {
	sc, err := cfg.Server(log)
	if err != nil {
		return nil, err
	}
	srv, err := server.New(cfg.Name, key, roots, sc)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	log.Info("relay serves", zap.String("relay", cfg.Name), zap.Stringer("address", ln.Addr()), zap.Stringer("key", key.Public()))
	return &Relay{srv, ln, key.Public()}, nil
}

// Serve takes legs until ctx ends, and then until they have gone elsewhere; see
// server.Server's Serve.
func (r *Relay) Serve(ctx context.Context) error { return r.Server.Serve(ctx, r.ln) }

// Near is relay.Config's: this relay needs no network.
func (r *Relay) Near(ctx context.Context, key keys.PublicKey) (net.Conn, error) {
	if key != r.key {
		return nil, nil
	}
	return r.Dial(ctx)
}

// Close closes the port of a relay that does not serve.
func (r *Relay) Close() error { return r.ln.Close() }

// Metrics writes the relay's figures.
func Metrics(m metrics.Writer, st server.Stats) {
	m.One("relay_sessions", metrics.Gauge, "Sessions with both ends there.", st.Sessions)
	m.One("relay_legs", metrics.Gauge, "Ends of sessions that are there.", st.Legs)
	m.By("transport", "relay_transport_legs", metrics.Gauge, "Of those, by how their frames travel.", map[string]uint64{
		"upgrade": uint64(st.Legs - st.WebSockets), "websocket": uint64(st.WebSockets)})
	m.One("relay_lone", metrics.Gauge, "Of those, the ones that have long been waiting for the other end.", st.Lone)
	m.One("relay_unproved", metrics.Gauge, "Connections that have not proved a key yet.", st.Open)
	m.One("relay_waiting", metrics.Gauge, "Connections that wait for their turn to.", st.Waiting)
	m.One("relay_received_bytes_total", metrics.Counter, "Bytes of frames from all legs.", st.Bytes)
	m.By("reason", "relay_dropped_bytes_total", metrics.Counter, "Bytes of frames that were not passed on.", map[string]uint64{
		"age": st.Aged, "room": st.Crowded, "alone": st.Missed, "rate": st.Excess})
	m.One("relay_writes_total", metrics.Counter, "Writes to legs; received bytes over it say how well they are gathered.", st.Writes)
	m.One("relay_legs_total", metrics.Counter, "Legs that proved their key.", st.Accepted)
	m.One("relay_replaced_total", metrics.Counter, "Legs that a later one of the same end took the place of.", st.Replaced)
	m.One("relay_cloned_total", metrics.Counter, "Sessions that ended because two machines used one key.", st.Cloned)
	m.By("code", "relay_refused_total", metrics.Counter, "Connections that were refused.", st.Reasons)
	m.Histogram("relay_pair_wait_seconds", "How long an end waited for the other one.", st.Wait)
	m.Histogram("relay_queue_age_seconds", "How long the oldest packet of a write had waited; its sum is not counted.", st.QueueAge)
}
