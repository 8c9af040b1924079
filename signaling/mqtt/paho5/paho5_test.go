package paho5

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/internal/mosquittotest"
	"github.com/boothwire/boothwire/signaling"
	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type sink struct {
	got chan string
	up  chan bool
}

func newSink() *sink { return &sink{got: make(chan string, 4096), up: make(chan bool, 4096)} }

func (s *sink) Deliver(m signaling.Message) {
	text := string(m.Payload)
	if m.Retained {
		text = "retained " + text
	}
	select {
	case s.got <- text:
	default:
	}
}
func (s *sink) Connected(up bool) { s.up <- up }

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

// A host is an application with topics, callbacks and a will of its own.
type host struct {
	ctx    context.Context // of the connection
	cancel context.CancelFunc
	cfg    autopaho.ClientConfig
	cm     *autopaho.ConnectionManager
	ups    atomic.Int32
	heard  atomic.Int32 // subscriptions to its own topic that the broker answered
	downs  atomic.Int32
	got    chan string
}

func newHost(t *testing.T, b *mosquittotest.Broker, id string) *host {
	u, err := url.Parse(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	h := &host{got: make(chan string, 4096)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.cfg = autopaho.ClientConfig{
		ServerUrls: []*url.URL{u}, KeepAlive: 30, SessionExpiryInterval: 60,
		ReconnectBackoff: func(int) time.Duration { return 50 * time.Millisecond },
		OnConnectionUp: func(cm *autopaho.ConnectionManager, _ *paho.Connack) {
			h.ups.Add(1)
			go func() {
				if _, err := cm.Subscribe(h.ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "host/" + id, QoS: 1}}}); err == nil {
					h.heard.Add(1)
				}
			}()
		},
		OnConnectionDown: func() bool { h.downs.Add(1); return true },
		WillMessage:      &paho.WillMessage{Topic: "host/will", Payload: []byte("gone")},
		ClientConfig: paho.ClientConfig{
			ClientID: id,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
				h.got <- r.Packet.Topic + " " + string(r.Packet.Payload)
				return false, nil
			}},
		},
	}
	return h
}

func (h *host) connect(t *testing.T) {
	t.Helper()
	cm, err := autopaho.NewConnection(h.ctx, h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.cm = cm
	t.Cleanup(func() { h.cancel(); <-cm.Done() })
}

func (h *host) publish(t *testing.T, topic, text string, retain bool) {
	t.Helper()
	for range 400 {
		if _, err := h.cm.Publish(t.Context(), &paho.Publish{Topic: topic, QoS: 1, Retain: retain, Payload: []byte(text)}); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("cannot publish to %s", topic)
}

func run(t *testing.T, r *signaling.Ride) *sink {
	t.Helper()
	s := newSink()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.Listen(ctx, s) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return s
}

func TestRideSurvivesBroker(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	kiosk := newHost(t, b, "kiosk")
	ride := Attach(&kiosk.cfg, "k1")
	s := run(t, ride)
	kiosk.connect(t)
	control := newHost(t, b, "control")
	control.connect(t)
	watch := func() {
		for range 400 {
			if _, err := control.cm.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "iot/k1/status", QoS: 1}}}); err == nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatal("control cannot subscribe")
	}
	for i := range 4 {
		wait(t, "connection", s.up, true)
		watch()
		text := fmt.Sprint(i)
		control.publish(t, "iot/k1/cmd", text, false)
		wait(t, "command", s.got, text)
		ride.Publish([]byte("status"+text), i%2 == 0)
		wait(t, "status", control.got, "iot/k1/status status"+text)
		// The host's own handler sees its own topic, and ours as well.
		wait(t, "our command at the host", kiosk.got, "iot/k1/cmd "+text)
		await(t, func() bool { return kiosk.ups.Load() == int32(i+1) && kiosk.heard.Load() == int32(i+1) })
		control.publish(t, "host/kiosk", text, false)
		wait(t, "the host's own message", kiosk.got, "host/kiosk "+text)
		if i == 3 {
			break
		}
		b.Restart() // with nothing remembered
		wait(t, "end", s.up, false)
	}
	if kiosk.downs.Load() != 3 {
		t.Errorf("the host saw %d ends", kiosk.downs.Load())
	}
}

func await(t *testing.T, ok func() bool) {
	t.Helper()
	for range 400 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("it does not come to be")
}

func TestHostDisconnects(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	h := newHost(t, b, "kiosk")
	ride := Attach(&h.cfg, "k1")
	s := run(t, ride)
	h.connect(t)
	wait(t, "connection", s.up, true)
	h.cm.Disconnect(t.Context())
	wait(t, "end", s.up, false)
}

func TestAttachLeavesTheRest(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	h := newHost(t, b, "kiosk")
	mine := make([]func(paho.PublishReceived) (bool, error), 1, 8)
	mine[0] = h.cfg.OnPublishReceived[0]
	h.cfg.OnPublishReceived = mine
	before := h.cfg
	Attach(&h.cfg, "k1")
	if len(mine[:2]) == 2 && mine[:2][1] != nil {
		t.Error("the host's array is written to")
	}
	if h.cfg.ClientID != before.ClientID || h.cfg.SessionExpiryInterval != before.SessionExpiryInterval ||
		h.cfg.WillMessage != before.WillMessage || h.cfg.ConnectPacketBuilder != nil || h.cfg.Router != nil {
		t.Error("the host's settings are changed")
	}
	if h.cfg.OnConnectionDown() != true {
		t.Error("reconnecting is off")
	}
	h.cfg.OnConnectionDown = func() bool { return false }
	Attach(&h.cfg, "k2")
	if h.cfg.OnConnectionDown() {
		t.Error("the host's word on reconnecting is lost")
	}
	var bare autopaho.ClientConfig
	if r := Attach(&bare, "a/b"); r.Topic() != "" || bare.OnConnectionUp != nil || bare.OnPublishReceived != nil {
		t.Error("a malformed id is attached")
	}
}
