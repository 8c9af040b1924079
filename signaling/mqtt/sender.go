package mqtt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/boothwire/boothwire/signaling"
	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/zap"
)

// Sender is control's end. It is safe for concurrent use.
type Sender struct {
	to   *endpoint
	cfg  Config
	plan plan
	log  *zap.Logger
	ride *signaling.FleetRide

	route func(net.Addr) netip.Addr // instead of routeTo, in tests

	mu   sync.Mutex
	line *line // nil: nobody reads
}

var _ signaling.Sender = (*Sender)(nil)

// NewSender makes a Sender at a broker, whose URL is as for NewListener. It is
// connected while Statuses runs.
func NewSender(url string, cfg *Config) (*Sender, error) {
	c, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	to, err := parseEndpoint(url, c.Insecure)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(c.Shared, "/+#") {
		return nil, fmt.Errorf("mqtt: a shared subscription's group has none of / + #: %q", c.Shared)
	}
	s := &Sender{to: to, cfg: c, log: c.Logger}
	s.ride = signaling.RideOnFleet(s.publish)
	s.plan = plan{
		clientID:  c.ClientID,
		clean:     true, // a kept session of a worker that is away swallows its share
		expiry:    commandExpiry,
		subscribe: paho.SubscribeOptions{Topic: s.ride.Filter(), QoS: 1},
	}
	if c.Shared != "" {
		s.plan.subscribe.Topic = "$share/" + c.Shared + "/" + s.ride.Filter()
	}
	if s.plan.clientID == "" {
		s.plan.clientID = "boothwire-control-" + rand.Text()[:16]
	}
	return s, nil
}

// Send returns when the broker has the command, or at once while the line is
// down. That says nothing about the device: only its reply does.
func (s *Sender) Send(ctx context.Context, device string, command []byte) error {
	return s.ride.Send(ctx, device, command)
}

// Up reports whether the broker is connected and sends what devices publish.
func (s *Sender) Up() bool { return s.ride.Up() }

// Dropped returns how many statuses were dropped because their reader was slow.
func (s *Sender) Dropped() uint64 { return s.ride.Dropped() }

// Statuses connects, and connects again, and yields what devices publish, until
// ctx ends or the caller stops; then it disconnects. It runs once at a time: a
// second one yields an error.
func (s *Sender) Statuses(ctx context.Context) iter.Seq2[signaling.Message, error] {
	return func(yield func(signaling.Message, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		n := newLine(s.to, s.cfg, s.plan, s.log)
		if s.route != nil {
			n.route = s.route
		}
		s.mu.Lock()
		busy := s.line != nil
		if !busy {
			s.line = n
		}
		s.mu.Unlock()
		if busy {
			yield(signaling.Message{}, errors.New("mqtt: the sender is in use"))
			return
		}
		defer func() {
			s.mu.Lock()
			s.line = nil
			s.mu.Unlock()
		}()
		messages := s.ride.Statuses(ctx) // before the first can come
		if err := n.open(ctx, s.ride); err != nil {
			yield(signaling.Message{}, err)
			return
		}
		defer n.close()
		messages(yield)
	}
}

func (s *Sender) publish(ctx context.Context, topic string, payload []byte, retain bool) error {
	s.mu.Lock()
	n := s.line
	s.mu.Unlock()
	if n == nil {
		return errDown
	}
	return n.publish(ctx, topic, payload, retain)
}
