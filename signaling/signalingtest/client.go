package signalingtest

import (
	"context"
	"slices"
	"strings"
)

// client is one session of the broker.
type client struct {
	b         *Broker
	name      string
	filter    string
	deliver   func(topic string, payload []byte, retained bool) bool
	connected func(up bool)
	allowed   func(topic string) bool // to publish

	online   bool
	queue    []Packet
	draining bool
}

// subscribe puts retained messages before what waited; b.mu is held.
func (c *client) subscribe() {
	var kept []Packet
	for topic, payload := range c.b.retained {
		if match(c.filter, topic) {
			kept = append(kept, Packet{topic, payload, true})
		}
	}
	slices.SortFunc(kept, func(x, y Packet) int { return strings.Compare(x.Topic, y.Topic) })
	waited := c.queue
	c.queue = nil
	for _, p := range kept {
		c.enqueue(p)
	}
	c.queue = append(c.queue, waited...)
}

// enqueue adds a packet, as hostile as the broker is; b.mu is held.
func (c *client) enqueue(p Packet) {
	list := []Packet{p}
	if c.b.intercept != nil {
		list = c.b.intercept(c.name, p)
	}
	for _, p := range list {
		for range 1 + c.b.repeat {
			if len(c.queue) < maxQueue {
				c.queue = append(c.queue, p)
			}
		}
	}
}

// publish is what a ride publishes with.
func (c *client) publish(ctx context.Context, topic string, payload []byte, retain bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.b.mu.Lock()
	online := c.online
	c.b.mu.Unlock()
	switch {
	case !online:
		return ErrOffline
	case !c.allowed(topic):
		return ErrDenied
	}
	c.b.route(topic, payload, retain)
	return nil
}

// drain delivers what waits, in order: one goroutine at a time does.
func (c *client) drain() {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.draining {
		return
	}
	c.draining = true
	defer func() { c.draining = false }()
	for c.online && len(c.queue) > 0 {
		p := c.queue[0]
		c.queue = c.queue[1:]
		c.b.mu.Unlock()
		c.deliver(p.Topic, p.Payload, p.Retained)
		c.b.mu.Lock()
	}
}

// match reports whether an MQTT filter matches topic.
func match(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range f {
		if level == "#" {
			return true
		}
		if i >= len(t) || level != "+" && level != t[i] {
			return false
		}
	}
	return len(f) == len(t)
}
