// Package paho3 lets signalling ride on the MQTT 3.1.1 connection that a host
// application holds with eclipse/paho.mqtt.golang.
package paho3

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/boothwire/boothwire/signaling"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Attach adds signalling for device to opts, which the host then gives to
// mqtt.NewClient. It wraps OnConnect, OnConnectionLost and, where the host has
// one, DefaultPublishHandler; what the host put there goes on being called as
// before. Will, session, client id and every other setting stay the host's. With
// an id that is none (see signaling.RideOn) opts are left as they are.
//
// The ride subscribes by itself, at each connection, whether or not the broker
// remembers the session, and tries again while the broker refuses. No callback
// blocks. The host must not subscribe to the very topic of the ride: the client
// keeps one handler for each filter.
func Attach(opts *mqtt.ClientOptions, device string) *signaling.Ride {
	a := &attachment{}
	a.ride = signaling.RideOn(device, a.publish)
	if a.ride.Topic() == "" {
		return a.ride
	}
	hostUp, hostLost, hostRest := opts.OnConnect, opts.OnConnectionLost, opts.DefaultPublishHandler
	opts.OnConnect = func(c mqtt.Client) {
		a.start(c)
		if hostUp != nil {
			hostUp(c)
		}
	}
	opts.OnConnectionLost = func(c mqtt.Client, err error) {
		a.lost(c)
		if hostLost != nil {
			hostLost(c, err)
		}
	}
	if hostRest != nil {
		// What a kept session brings before the route below is there. A default
		// handler where the host has none would acknowledge the host's messages.
		opts.DefaultPublishHandler = func(c mqtt.Client, m mqtt.Message) {
			if !a.ride.Deliver(m.Topic(), m.Payload(), m.Retained()) {
				hostRest(c, m)
			}
		}
	}
	return a.ride
}

// answerTimeout is how long the broker may take for a SUBACK.
const answerTimeout = 30 * time.Second

// An attachment is one ride on one client.
type attachment struct {
	ride *signaling.Ride

	mu     sync.Mutex
	client mqtt.Client        // nil: never connected
	stop   context.CancelFunc // ends the latest subscription's attempts
}

// start subscribes; a later start replaces an earlier one.
func (a *attachment) start(c mqtt.Client) {
	ctx, stop := context.WithCancel(context.Background())
	a.mu.Lock()
	if a.stop != nil {
		a.stop()
	}
	a.client, a.stop = c, stop
	a.mu.Unlock()
	c.AddRoute(a.ride.Topic(), a.deliver) // a kept session may bring commands before the SUBACK
	go func() {
		defer stop()
		a.subscribe(ctx, c)
	}()
}

// lost may run after the next OnConnect, since the client calls each on a
// goroutine of its own: then the subscription is made once more.
func (a *attachment) lost(c mqtt.Client) {
	a.mu.Lock()
	a.ride.Connected(false)
	a.mu.Unlock()
	if c.IsConnectionOpen() {
		a.start(c)
	}
}

func (a *attachment) deliver(_ mqtt.Client, m mqtt.Message) {
	a.ride.Deliver(m.Topic(), m.Payload(), m.Retained())
}

func (a *attachment) subscribe(ctx context.Context, c mqtt.Client) {
	for pause := time.Second; c.IsConnectionOpen(); pause = min(2*pause, time.Minute) {
		err := a.ask(ctx, c)
		if err == nil {
			a.mu.Lock()
			if ctx.Err() == nil && c.IsConnectionOpen() {
				a.ride.Connected(true)
			}
			a.mu.Unlock()
			return
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
			return
		}
	}
}

func (a *attachment) ask(ctx context.Context, c mqtt.Client) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	token := c.Subscribe(a.ride.Topic(), 1, a.deliver)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-token.Done():
	}
	if err := token.Error(); err != nil {
		return err
	}
	if s, ok := token.(*mqtt.SubscribeToken); ok && s.Result()[a.ride.Topic()] >= 0x80 {
		return errors.New("paho3: the broker refuses the subscription")
	}
	return nil
}

func (a *attachment) publish(ctx context.Context, topic string, payload []byte, retain bool) error {
	a.mu.Lock()
	c := a.client
	a.mu.Unlock()
	if c == nil || !c.IsConnectionOpen() {
		return fmt.Errorf("paho3: %w", mqtt.ErrNotConnected)
	}
	// The client waits for its own queue whatever ctx says.
	sent := make(chan error, 1)
	go func() {
		token := c.Publish(topic, 1, retain, payload)
		select {
		case <-token.Done():
			sent <- token.Error()
		case <-ctx.Done():
		}
	}()
	select {
	case err := <-sent:
		if err != nil {
			return fmt.Errorf("paho3: %w", err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
