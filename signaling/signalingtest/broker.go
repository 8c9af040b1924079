package signalingtest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"

	"github.com/boothwire/boothwire/signaling"
)

// Packet is a message on its way to one client.
type Packet struct {
	Topic    string
	Payload  []byte
	Retained bool // it was kept, and comes because of a subscription
}

// The errors of a client's publish.
var (
	ErrOffline = errors.New("signalingtest: not connected")
	ErrDenied  = errors.New("signalingtest: not allowed")
)

// maxQueue is how many packets wait for a client that is offline; more are
// dropped without a word, as brokers do.
const maxQueue = 1000

// Broker is an MQTT broker. It is safe for concurrent use. Deliveries happen
// on the goroutine that caused them.
type Broker struct {
	mu        sync.Mutex
	clients   map[string]*client
	retained  map[string][]byte
	repeat    int
	intercept func(to string, p Packet) []Packet
	readers   int
}

// New makes a broker.
func New() *Broker {
	return &Broker{clients: make(map[string]*client), retained: make(map[string][]byte)}
}

// Device connects a device and returns its ride. It may read iot/{id}/cmd and
// write iot/{id}/status.
func (b *Broker) Device(id string) *signaling.Ride {
	c := &client{b: b, name: id}
	ride := signaling.RideOn(id, c.publish)
	c.filter, c.deliver, c.connected = ride.Topic(), ride.Deliver, ride.Connected
	c.allowed = func(topic string) bool { return topic == "iot/"+id+"/status" }
	b.add(c)
	return ride
}

// Fleet connects a control and returns its ride. It may read iot/+/status and
// write iot/+/cmd. Several of different names may be connected.
func (b *Broker) Fleet(name string) *signaling.FleetRide {
	c := &client{b: b, name: name}
	ride := signaling.RideOnFleet(c.publish)
	c.filter, c.deliver, c.connected = ride.Filter(), ride.Deliver, ride.Connected
	c.allowed = func(topic string) bool { return match("iot/+/cmd", topic) }
	b.add(c)
	return ride
}

// Subscribe reads what filter matches, as someone who may read everything
// does, retained messages first. It returns what ends that.
func (b *Broker) Subscribe(filter string, f func(Packet)) (cancel func()) {
	b.mu.Lock()
	b.readers++
	name := "\x00reader" + strconv.Itoa(b.readers)
	b.mu.Unlock()
	b.add(&client{b: b, name: name, filter: filter, connected: func(bool) {},
		deliver: func(topic string, payload []byte, retained bool) bool {
			f(Packet{topic, payload, retained})
			return true
		}})
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.clients, name)
	}
}

// Publish publishes as someone who may write everything does.
func (b *Broker) Publish(topic string, payload []byte, retain bool) { b.route(topic, payload, retain) }

// PublishAs publishes as a client that is connected does, by its id or name:
// what a device that was taken over tries.
func (b *Broker) PublishAs(name, topic string, payload []byte) error {
	b.mu.Lock()
	c := b.clients[name]
	b.mu.Unlock()
	if c == nil {
		return ErrOffline
	}
	return c.publish(context.Background(), topic, payload, false)
}

// Retained returns the message that is kept for topic.
func (b *Broker) Retained(topic string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.retained[topic])
}

// Forget drops every retained message, as a broker that restarts may.
func (b *Broker) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.retained)
}

// Repeat makes the broker deliver each message n more times.
func (b *Broker) Repeat(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.repeat = n
}

// Intercept makes the broker hostile: what f returns is delivered in a
// message's place. It is called with the broker locked. Nil ends that.
func (b *Broker) Intercept(f func(to string, p Packet) []Packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.intercept = f
}

// Online connects a client, by its id or name, or cuts its connection. What
// comes meanwhile waits for it; when it is back it subscribes anew, so that
// retained messages come again.
func (b *Broker) Online(name string, up bool) {
	b.mu.Lock()
	c := b.clients[name]
	if c == nil || c.online == up {
		b.mu.Unlock()
		return
	}
	c.online = up
	if up {
		c.subscribe()
	}
	b.mu.Unlock()
	c.connected(up)
	c.drain()
}

func (b *Broker) add(c *client) {
	b.mu.Lock()
	b.clients[c.name] = c
	c.online = true
	c.subscribe()
	b.mu.Unlock()
	c.connected(true)
	c.drain()
}

// route takes a message in and hands it on.
func (b *Broker) route(topic string, payload []byte, retain bool) {
	payload = slices.Clone(payload)
	b.mu.Lock()
	if retain {
		b.retained[topic] = payload
		if len(payload) == 0 {
			delete(b.retained, topic)
		}
	}
	var to []*client
	for _, c := range b.clients {
		if match(c.filter, topic) {
			c.enqueue(Packet{topic, payload, false})
			to = append(to, c)
		}
	}
	b.mu.Unlock()
	for _, c := range to {
		c.drain()
	}
}
