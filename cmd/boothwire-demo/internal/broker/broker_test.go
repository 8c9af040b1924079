package broker

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
)

const patience = time.Minute

// connect signs in and collects what comes.
func connect(t *testing.T, b *Broker, name, password string, filters ...string) (*autopaho.ConnectionManager, chan string) {
	t.Helper()
	u, err := url.Parse(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 16)
	c, err := autopaho.NewConnection(t.Context(), autopaho.ClientConfig{
		ServerUrls:      []*url.URL{u},
		ConnectUsername: name,
		ConnectPassword: []byte(password),
		ClientConfig: paho.ClientConfig{ClientID: name, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(p paho.PublishReceived) (bool, error) { got <- p.Packet.Topic; return true, nil },
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.AwaitConnection(ctx); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, f := range filters {
		c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: f, QoS: 1}}})
	}
	return c, got
}

func TestAccess(t *testing.T) {
	b, err := Start("kiosk-1", "kiosk-2")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	_, one := connect(t, b, "kiosk-1", b.Password("kiosk-1"), "iot/kiosk-1/cmd")
	two, spied := connect(t, b, "kiosk-2", b.Password("kiosk-2"), "iot/+/cmd", "iot/kiosk-1/cmd", "#")
	control, seen := connect(t, b, Control, b.Password(Control), "iot/+/status")

	publish := func(c *autopaho.ConnectionManager, topic string) error {
		_, err := c.Publish(t.Context(), &paho.Publish{Topic: topic, QoS: 1, Payload: []byte("{}")})
		return err
	}
	if err := publish(control, "iot/kiosk-1/cmd"); err != nil {
		t.Fatal(err)
	}
	if err := publish(two, "iot/kiosk-1/status"); err == nil {
		t.Error("kiosk-2 wrote the status of kiosk-1")
	}
	publish(two, "iot/kiosk-2/status")
	for what, ch := range map[string]chan string{"iot/kiosk-1/cmd": one, "iot/kiosk-2/status": seen} {
		select {
		case topic := <-ch:
			if topic != what {
				t.Errorf("got %s, want %s", topic, what)
			}
		case <-time.After(patience):
			t.Errorf("%s did not arrive", what)
		}
	}
	select {
	case topic := <-spied:
		t.Errorf("kiosk-2 read %s", topic)
	default:
	}
}
