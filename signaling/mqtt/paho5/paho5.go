// Package paho5 lets signalling ride on the MQTT 5 connection that a host
// application holds with eclipse/paho.golang's autopaho.
package paho5

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/boothwire/boothwire/signaling"
	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
)

// Attach adds signalling for device to cfg, which the host then gives to
// autopaho.NewConnection. It adds a handler of publishes and wraps OnConnectionUp
// and OnConnectionDown; what the host put there goes on being called as before.
// Will, session, client id and every other setting stay the host's. With an id
// that is none (see signaling.RideOn) cfg is left as it is.
//
// The ride subscribes by itself, at each connection, and tries again while the
// broker refuses. No callback blocks.
func Attach(cfg *autopaho.ClientConfig, device string) *signaling.Ride {
	a := &attachment{}
	a.ride = signaling.RideOn(device, a.publish)
	if a.ride.Topic() == "" {
		return a.ride
	}
	// Clipped: the host may hold the same array.
	cfg.OnPublishReceived = append(slices.Clip(cfg.OnPublishReceived), func(r paho.PublishReceived) (bool, error) {
		return a.ride.Deliver(r.Packet.Topic, r.Packet.Payload, r.Packet.Retain), nil
	})
	hostUp, hostDown := cfg.OnConnectionUp, cfg.OnConnectionDown
	cfg.OnConnectionUp = func(cm *autopaho.ConnectionManager, ack *paho.Connack) {
		a.up(cm)
		if hostUp != nil {
			hostUp(cm, ack)
		}
	}
	cfg.OnConnectionDown = func() bool {
		a.down()
		return hostDown == nil || hostDown()
	}
	return a.ride
}

// An attachment is one ride on one connection manager.
type attachment struct {
	ride *signaling.Ride

	mu   sync.Mutex
	cm   *autopaho.ConnectionManager // nil: never connected
	live context.Context             // ends with the connection
	stop context.CancelFunc          // ends live; nil: there is no connection
}

func (a *attachment) up(cm *autopaho.ConnectionManager) {
	ctx, stop := context.WithCancel(context.Background())
	a.mu.Lock()
	if a.stop != nil {
		a.stop()
	}
	a.cm, a.live, a.stop = cm, ctx, stop
	a.mu.Unlock()
	go a.follow(ctx, cm)
}

func (a *attachment) down() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stop != nil {
		a.stop()
		a.stop = nil
	}
	a.ride.Connected(false)
}

// follow subscribes and waits for the end of the connection: a manager that is
// told to disconnect does not call OnConnectionDown.
func (a *attachment) follow(ctx context.Context, cm *autopaho.ConnectionManager) {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		err := subscribe(ctx, cm, a.ride.Topic())
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			break
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
			return
		case <-cm.Done():
			a.gone(ctx)
			return
		}
	}
	if !a.subscribed(ctx) {
		return
	}
	select {
	case <-ctx.Done():
	case <-cm.Done():
		a.gone(ctx)
	}
}

// subscribed tells the ride, unless the connection is gone meanwhile.
func (a *attachment) subscribed(ctx context.Context) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	a.ride.Connected(true)
	return true
}

func (a *attachment) gone(ctx context.Context) {
	if ctx.Err() == nil {
		a.down()
	}
}

func subscribe(ctx context.Context, cm *autopaho.ConnectionManager, topic string) error {
	// RetainHandling 2: a retained command is refused anyway.
	ack, err := cm.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{
		{Topic: topic, QoS: 1, RetainHandling: 2},
	}})
	if err == nil && (len(ack.Reasons) != 1 || ack.Reasons[0] >= 0x80) {
		err = errors.New("paho5: the broker refuses the subscription")
	}
	return err
}

func (a *attachment) publish(ctx context.Context, topic string, payload []byte, retain bool) error {
	a.mu.Lock()
	cm, live := a.cm, a.live
	a.mu.Unlock()
	if cm == nil {
		return autopaho.ConnectionDownError
	}
	// The library may leave a publish waiting that a lost connection met on its
	// way: only its timeout would end it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(live, cancel)()
	if _, err := cm.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Retain: retain, Payload: payload}); err != nil {
		return fmt.Errorf("paho5: %w", err)
	}
	return nil
}
