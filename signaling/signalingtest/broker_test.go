package signalingtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/signalingtest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// ear is a Sink that writes down what it hears.
type ear struct {
	mu  sync.Mutex
	got []string
}

func (e *ear) add(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.got = append(e.got, s)
}

func (e *ear) Deliver(m signaling.Message) { e.add(fmt.Sprintf("%s %v", m.Payload, m.Retained)) }
func (e *ear) Connected(up bool)           { e.add(fmt.Sprint(up)) }

func (e *ear) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if fmt.Sprint(e.got) != fmt.Sprint(want) {
		t.Errorf("heard %q, want %q", e.got, want)
	}
	e.got = nil
}

func TestBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := signalingtest.New()
		ctx, cancel := context.WithCancel(context.Background())
		ride, e := b.Device("k1"), new(ear)
		other, o := b.Device("k2"), new(ear)
		fleet := signalingtest.NewLine(b.Fleet("control"))
		var wg sync.WaitGroup
		wg.Go(func() { ride.Listen(ctx, e) })
		wg.Go(func() { other.Listen(ctx, o) })
		e.want(t, "true")
		o.want(t, "true")

		heard := new(ear)
		select {
		case <-fleet.Read():
			t.Error("read by nobody")
		default:
		}
		statuses := fleet.Statuses(ctx)
		<-fleet.Read()
		wg.Go(func() {
			for m := range statuses {
				heard.add(fmt.Sprintf("%s %s %v", m.Device, m.Payload, m.Retained))
			}
		})
		send := func(device, text string) {
			if err := fleet.Send(ctx, device, []byte(text)); err != nil {
				t.Error(err)
			}
		}
		send("k1", "up")
		e.want(t, "up false")
		o.want(t)

		ride.Publish([]byte("doc"), true)
		ride.Publish([]byte("reply"), false)
		synctest.Wait()
		if got := b.Retained("iot/k1/status"); !bytes.Equal(got, []byte("doc")) {
			t.Errorf("retained %q", got)
		}
		heard.mu.Lock()
		if len(heard.got) != 2 {
			t.Errorf("control heard %q", heard.got)
		}
		heard.got = nil
		heard.mu.Unlock()

		// Who is away finds what came meanwhile.
		b.Online("k1", false)
		send("k1", "one")
		b.Publish("iot/k1/cmd", []byte("two"), true)
		e.want(t, "false")
		b.Online("k1", true)
		e.want(t, "true", "two true", "one false", "two false")
		b.Online("control", false)
		if err := fleet.Send(ctx, "k1", []byte("x")); err == nil {
			t.Error("sent without a connection")
		}
		ride.Publish([]byte("reply2"), false)
		synctest.Wait()
		b.Online("control", true)
		heard.want(t, "k1 doc true", "k1 reply2 false")

		b.Repeat(1)
		send("k1", "x")
		e.want(t, "x false", "x false")
		b.Repeat(0)
		b.Intercept(func(to string, p signalingtest.Packet) []signalingtest.Packet {
			if to != "k1" {
				return []signalingtest.Packet{p}
			}
			p.Payload = []byte("evil")
			return []signalingtest.Packet{p, {Topic: "iot/k2/cmd", Payload: []byte("not k1's")}}
		})
		send("k1", "x")
		e.want(t, "evil false")
		b.Intercept(nil)

		b.Publish("iot/k1/cmd", nil, true)
		b.Forget()
		late := new(ear)
		stop := b.Subscribe("#", func(p signalingtest.Packet) { late.add(p.Topic) })
		send("k2", "y")
		late.want(t, "iot/k2/cmd")
		stop()
		send("k2", "z")
		late.want(t)
		cancel()
		wg.Wait()
	})
}

// TestAccess: a device writes no topic but its own status.
func TestAccess(t *testing.T) {
	b := signalingtest.New()
	b.Device("k1")
	for _, topic := range []string{"iot/k2/status", "iot/k1/cmd", "iot/k2/cmd", "x"} {
		if err := b.PublishAs("k1", topic, []byte("x")); !errors.Is(err, signalingtest.ErrDenied) {
			t.Errorf("%s: %v", topic, err)
		}
	}
	if err := b.PublishAs("k1", "iot/k1/status", []byte("x")); err != nil {
		t.Error(err)
	}
	b.Online("k1", false)
	if err := b.PublishAs("k1", "iot/k1/status", []byte("x")); !errors.Is(err, signalingtest.ErrOffline) {
		t.Errorf("offline: %v", err)
	}
	b.Fleet("control")
	if err := b.PublishAs("control", "iot/k1/status", []byte("x")); !errors.Is(err, signalingtest.ErrDenied) {
		t.Errorf("control writes a status: %v", err)
	}
}
