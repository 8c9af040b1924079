package paho3

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/internal/mosquittotest"
	"github.com/boothwire/boothwire/signaling"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type sink struct {
	got chan string
	up  chan bool
}

func (s *sink) Deliver(m signaling.Message) { s.got <- string(m.Payload) }
func (s *sink) Connected(up bool)           { s.up <- up }

func wait[T comparable](t *testing.T, what string, from <-chan T, want T) {
	t.Helper()
	late := time.After(40 * time.Second)
	for {
		select {
		case got := <-from:
			if got == want {
				return
			}
		case <-late:
			t.Fatalf("no %s", what)
		}
	}
}

// await waits for what the host counts: its callbacks come after the ride's.
func await(t *testing.T, what string, n *atomic.Int32, want int) {
	t.Helper()
	for range 400 {
		if n.Load() == int32(want) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: %d, want %d", what, n.Load(), want)
}

// A host is an application with topics and callbacks of its own.
type host struct {
	opts   *mqtt.ClientOptions
	client mqtt.Client
	ups    atomic.Int32
	lost   atomic.Int32
	got    chan string
}

func newHost(b *mosquittotest.Broker, id string, clean bool) *host {
	h := &host{got: make(chan string, 4096)}
	take := func(_ mqtt.Client, m mqtt.Message) { h.got <- m.Topic() + " " + string(m.Payload()) }
	h.opts = mqtt.NewClientOptions().
		AddBroker(strings.Replace(b.URL(), "mqtt:", "tcp:", 1)).SetClientID(id).SetCleanSession(clean).
		SetConnectRetry(true).SetConnectRetryInterval(50 * time.Millisecond).SetMaxReconnectInterval(100 * time.Millisecond).
		SetOnConnectHandler(func(c mqtt.Client) {
			h.ups.Add(1)
			c.Subscribe("host/"+id, 1, take).Wait()
		}).
		SetConnectionLostHandler(func(mqtt.Client, error) { h.lost.Add(1) }).
		SetDefaultPublishHandler(take)
	return h
}

func (h *host) connect(t *testing.T) {
	t.Helper()
	h.client = mqtt.NewClient(h.opts)
	if token := h.client.Connect(); !token.WaitTimeout(20*time.Second) || token.Error() != nil {
		t.Fatalf("connect: %v", token.Error())
	}
	t.Cleanup(func() { h.client.Disconnect(100) })
}

func (h *host) publish(t *testing.T, topic, text string) {
	t.Helper()
	for range 400 {
		if h.client.IsConnectionOpen() {
			if token := h.client.Publish(topic, 1, false, text); token.WaitTimeout(time.Second) && token.Error() == nil {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("cannot publish to %s", topic)
}

func (h *host) subscribe(t *testing.T, topic string) {
	t.Helper()
	for range 400 {
		if h.client.IsConnectionOpen() {
			token := h.client.Subscribe(topic, 1, func(_ mqtt.Client, m mqtt.Message) { h.got <- m.Topic() + " " + string(m.Payload()) })
			if token.WaitTimeout(time.Second) && token.Error() == nil {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("cannot subscribe to %s", topic)
}

func run(t *testing.T, r *signaling.Ride) *sink {
	t.Helper()
	s := &sink{got: make(chan string, 4096), up: make(chan bool, 4096)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.Listen(ctx, s) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return s
}

func TestRideSurvivesBroker(t *testing.T) {
	for _, clean := range []bool{true, false} {
		for _, persist := range []bool{true, false} {
			t.Run(fmt.Sprintf("clean %v, persist %v", clean, persist), func(t *testing.T) {
				b := mosquittotest.Start(t, mosquittotest.Options{Persist: persist})
				kiosk := newHost(b, "kiosk", clean)
				ride := Attach(kiosk.opts, "k1")
				s := run(t, ride)
				kiosk.connect(t)
				control := newHost(b, "control", true)
				control.connect(t)
				for i := range 3 {
					wait(t, "connection", s.up, true)
					control.subscribe(t, "iot/k1/status")
					text := fmt.Sprint(i)
					control.publish(t, "iot/k1/cmd", text)
					wait(t, "command", s.got, text)
					ride.Publish([]byte("status"+text), i%2 == 0)
					wait(t, "status", control.got, "iot/k1/status status"+text)
					kiosk.subscribe(t, "host/more")
					control.publish(t, "host/more", text)
					wait(t, "the host's own message", kiosk.got, "host/more "+text)
					await(t, "connections that the host saw", &kiosk.ups, i+1)
					if i == 2 {
						break
					}
					b.Restart()
					wait(t, "end", s.up, false)
				}
				await(t, "ends that the host saw", &kiosk.lost, 2)
			})
		}
	}
}

// Callbacks of the client come on goroutines of their own, in any order: an end
// that is told after the next connection must not leave the ride down.
func TestLateEnd(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	h := newHost(b, "kiosk", true)
	ride := Attach(h.opts, "k1")
	s := run(t, ride)
	h.connect(t)
	wait(t, "connection", s.up, true)
	h.opts.OnConnectionLost(h.client, nil)
	wait(t, "end", s.up, false)
	wait(t, "connection", s.up, true)
}

func TestPublishWhileDown(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	h := newHost(b, "kiosk", true)
	a := &attachment{}
	a.ride = signaling.RideOn("k1", a.publish)
	if err := a.publish(t.Context(), "x", nil, false); err == nil {
		t.Error("published before the first connection")
	}
	h.connect(t)
	a.client = h.client
	if err := a.publish(t.Context(), "x", []byte("y"), false); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.publish(ctx, "x", []byte("y"), false); err != nil && err != context.Canceled {
		t.Error(err)
	}
	b.Kill()
	for range 400 {
		if !h.client.IsConnectionOpen() {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := a.publish(t.Context(), "x", []byte("y"), false); err == nil {
		t.Error("published to nobody")
	}
}

func TestAttachLeavesTheRest(t *testing.T) {
	o := mqtt.NewClientOptions().SetClientID("host").SetWill("w", "x", 1, true)
	o.OnConnect, o.OnConnectionLost = nil, nil
	Attach(o, "k1")
	if o.ClientID != "host" || o.WillTopic != "w" || !o.CleanSession || o.DefaultPublishHandler != nil {
		t.Error("the host's settings are changed")
	}
	bare := mqtt.NewClientOptions()
	bare.OnConnect = nil
	if r := Attach(bare, "a/b"); r.Topic() != "" || bare.OnConnect != nil {
		t.Error("a malformed id is attached")
	}
}
