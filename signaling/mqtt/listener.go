package mqtt

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/zap"
)

// Listener is a device's end. It is safe for concurrent use.
type Listener struct {
	to   *endpoint
	cfg  Config
	plan plan
	log  *zap.Logger
	ride *signaling.Ride

	route func(net.Addr) netip.Addr // instead of routeTo, in tests

	mu   sync.Mutex
	line *line // nil: nobody listens
}

var _ signaling.Listener = (*Listener)(nil)

// NewListener makes a Listener for a device at a broker: mqtts://host[:8883] or
// wss://host[:443][/mqtt]; mqtt and ws on this machine, or where Config.Insecure
// says so. It connects in Listen.
func NewListener(device *keys.Device, url string, cfg *Config) (*Listener, error) {
	return newListener(device.ID(), url, cfg)
}

func newListener(device, url string, cfg *Config) (*Listener, error) {
	c, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	to, err := parseEndpoint(url, c.Insecure)
	if err != nil {
		return nil, err
	}
	l := &Listener{to: to, cfg: c, log: c.Logger.With(zap.String("device", device))}
	l.ride = signaling.RideOn(device, l.publish)
	if l.ride.Topic() == "" {
		return nil, errors.New("mqtt: malformed device id")
	}
	l.plan = plan{
		clientID: c.ClientID,
		session:  sessionExpiry,
		will:     "iot/" + device + "/status",
		// RetainHandling 2: a retained command is refused anyway.
		subscribe: paho.SubscribeOptions{Topic: l.ride.Topic(), QoS: 1, RetainHandling: 2},
	}
	if l.plan.clientID == "" {
		l.plan.clientID = "boothwire-" + device
	}
	return l, nil
}

// Listen connects, and connects again, until ctx ends; then it disconnects and
// returns ctx's error. One Listen runs at a time.
func (l *Listener) Listen(ctx context.Context, sink signaling.Sink) error {
	n := newLine(l.to, l.cfg, l.plan, l.log)
	if l.route != nil {
		n.route = l.route
	}
	l.mu.Lock()
	if l.line != nil {
		l.mu.Unlock()
		return errors.New("mqtt: the listener is in use")
	}
	l.line = n
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.line = nil
		l.mu.Unlock()
	}()
	// The connection outlives ctx by what the ride still has to send.
	if err := n.open(context.WithoutCancel(ctx), l.ride); err != nil {
		return err
	}
	defer n.close()
	return l.ride.Listen(ctx, sink)
}

// Publish sends a status while the line is up. It never blocks.
func (l *Listener) Publish(status []byte, retain bool) { l.ride.Publish(status, retain) }

func (l *Listener) publish(ctx context.Context, topic string, payload []byte, retain bool) error {
	l.mu.Lock()
	n := l.line
	l.mu.Unlock()
	if n == nil {
		return errDown
	}
	return n.publish(ctx, topic, payload, retain)
}

var errDown = errors.New("mqtt: the line is down")
