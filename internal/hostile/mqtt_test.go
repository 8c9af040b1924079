package hostile

import (
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/boothwire/boothwire/internal/mosquittotest"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/mqtt"
	"github.com/boothwire/boothwire/signaling/signalingtest"
)

// wiretap is a Mosquitto with somebody on every TCP connection to it, who reads and
// rewrites MQTT 5.
type wiretap struct {
	t      *testing.T
	broker *mosquittotest.Broker
	ln     net.Listener
	work   sync.WaitGroup

	mu    sync.Mutex
	f     func(to string, p packet) []packet
	lines map[*tapped]bool
}

// tapped is one client's connection.
type tapped struct {
	tap        *wiretap
	client, up net.Conn

	send   sync.Mutex // over whole packets to the broker
	mu     sync.Mutex // over whole packets to the client
	filter string     // that it subscribed to
}

func newWiretap(t *testing.T) medium {
	w := &wiretap{t: t, broker: mosquittotest.Start(t, mosquittotest.Options{}), ln: must(net.Listen("tcp", "127.0.0.1:0")), lines: make(map[*tapped]bool)}
	w.work.Go(func() {
		for {
			conn, err := w.ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", w.broker.Addr())
			if err != nil {
				conn.Close()
				continue
			}
			c := &tapped{tap: w, client: conn, up: up}
			w.mu.Lock()
			w.lines[c] = true
			w.mu.Unlock()
			w.work.Go(c.toBroker)
			w.work.Go(c.toClient)
		}
	})
	t.Cleanup(func() {
		w.ln.Close()
		w.mu.Lock()
		for c := range w.lines {
			c.close()
		}
		w.mu.Unlock()
		w.work.Wait()
	})
	return w
}

func (w *wiretap) url() string { return "mqtt://" + w.ln.Addr().String() }

func (w *wiretap) listener(d *keys.Device) signaling.Listener {
	return must(mqtt.NewListener(d, w.url(), &mqtt.Config{Spread: 100 * time.Millisecond}))
}

func (w *wiretap) sender() signaling.Sender {
	return must(mqtt.NewSender(w.url(), &mqtt.Config{Spread: 100 * time.Millisecond}))
}

func (w *wiretap) intercept(f func(to string, p signalingtest.Packet) []signalingtest.Packet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.f = f
}

func (w *wiretap) inject(p packet) {
	w.mu.Lock()
	lines := w.lines
	var to []*tapped
	for c := range lines {
		to = append(to, c)
	}
	w.mu.Unlock()
	for _, c := range to {
		c.publish(p)
	}
}

func (c *tapped) close() { c.client.Close(); c.up.Close() }

// toBroker lets through what the client sends, and notes what it listens to.
func (c *tapped) toBroker() {
	defer c.close()
	for {
		p, err := packets.ReadPacket(c.client)
		if err != nil {
			return
		}
		if s, ok := p.Content.(*packets.Subscribe); ok && len(s.Subscriptions) > 0 {
			c.mu.Lock()
			c.filter = s.Subscriptions[0].Topic
			c.mu.Unlock()
		}
		if c.toUp(p) != nil {
			return
		}
	}
}

func (c *tapped) toUp(p *packets.ControlPacket) error {
	c.send.Lock()
	defer c.send.Unlock()
	_, err := p.WriteTo(c.up)
	return err
}

// toClient asks what to make of what the broker delivers. The broker's own copy is
// acknowledged here, what the client gets is QoS 0: it acknowledges nothing.
func (c *tapped) toClient() {
	defer func() {
		c.close()
		c.tap.mu.Lock()
		delete(c.tap.lines, c)
		c.tap.mu.Unlock()
	}()
	for {
		p, err := packets.ReadPacket(c.up)
		if err != nil {
			return
		}
		pub, ok := p.Content.(*packets.Publish)
		if !ok {
			c.mu.Lock()
			_, err := p.WriteTo(c.client)
			c.mu.Unlock()
			if err != nil {
				return
			}
			continue
		}
		if pub.QoS > 0 {
			ack := packets.NewControlPacket(packets.PUBACK)
			ack.Content.(*packets.Puback).PacketID = pub.PacketID
			if c.toUp(ack) != nil {
				return
			}
		}
		in := packet{Topic: pub.Topic, Payload: pub.Payload, Retained: pub.Retain}
		list := []packet{in}
		c.tap.mu.Lock()
		f := c.tap.f
		c.tap.mu.Unlock()
		if f != nil {
			list = f("", in)
		}
		for _, p := range list {
			c.publish(p)
		}
	}
}

// publish delivers p if the client listens to its topic.
func (c *tapped) publish(p packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.filter != p.Topic && !(c.filter == "iot/+/status" && !isCommand(p)) {
		return
	}
	out := packets.NewControlPacket(packets.PUBLISH)
	pub := out.Content.(*packets.Publish)
	pub.Topic, pub.Payload, pub.Retain = p.Topic, p.Payload, p.Retained
	_, _ = out.WriteTo(c.client)
}

// TestHostileMQTT: the same over real MQTT, against a Mosquitto whose every packet
// passes through the enemy.
func TestHostileMQTT(t *testing.T) {
	for i, s := range strategies() {
		if !slices.Contains([]string{"forges", "replays", "withholds", "all of it"}, s.name) {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			withstand(t, newWorld(t, config{medium: newWiretap}), s, uint64(100+i))
		})
	}
}
