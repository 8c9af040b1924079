// Package booth stands for a kiosk application as it was before remote access:
// it has one MQTT connection, customers, and a light that staff can see. Nothing
// in it knows boothwire, but for the ports that its configuration names.
package booth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"github.com/boothwire/boothwire/keys"
)

// A Booth is one photo booth, connected to its broker until Open's ctx ends.
type Booth struct {
	ID    string
	State string   // folder
	Roots []string // whose word counts

	services map[keys.Port]string
	conn     *autopaho.ConnectionManager
	photos   atomic.Int64 // being taken: the booth is not to be disturbed
	lit      atomic.Bool

	mu      sync.Mutex
	topics  map[string]func(topic string, payload []byte, retained bool)
	changed []func(up bool)
	link    context.Context    // ends with the present connection; nil: there is none yet
	unlink  context.CancelFunc // ends link
	up      bool               // subscribed
}

type config struct {
	ID, State, Broker, Username, Password, CA string
	Roots                                     []string
	Services                                  map[string]string
}

// Open reads the booth's configuration and connects, in the background.
func Open(ctx context.Context, file string) (*Booth, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var c config
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	broker, err := url.Parse(c.Broker)
	if err != nil {
		return nil, fmt.Errorf("%s: broker: %w", file, err)
	}
	b := &Booth{ID: c.ID, State: c.State, Roots: c.Roots, topics: make(map[string]func(string, []byte, bool))}
	if len(c.Services) > 0 {
		b.services = make(map[keys.Port]string)
	}
	for text, addr := range c.Services {
		port, err := keys.ParsePort(text)
		if err != nil {
			return nil, fmt.Errorf("%s: services: %w", file, err)
		}
		b.services[port] = addr
	}
	roots, err := authorities(c.CA)
	if err != nil {
		return nil, err
	}
	b.conn, err = autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls:       []*url.URL{broker},
		TlsCfg:           &tls.Config{RootCAs: roots},
		KeepAlive:        30,
		ConnectUsername:  c.Username,
		ConnectPassword:  []byte(c.Password),
		OnConnectionUp:   func(cm *autopaho.ConnectionManager, _ *paho.Connack) { b.linked(ctx, cm) },
		OnConnectionDown: func() bool { b.lost(); return true },
		ClientConfig: paho.ClientConfig{ClientID: c.ID, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(p paho.PublishReceived) (bool, error) { return b.deliver(p.Packet), nil },
		}},
	})
	return b, err
}

func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(file + " holds no certificate")
	}
	return pool, nil
}

// linked subscribes anew, as after every connect: the broker may have forgotten.
func (b *Booth) linked(ctx context.Context, cm *autopaho.ConnectionManager) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.link, b.unlink = context.WithCancel(ctx)
	go b.subscribe(b.link, cm)
}

func (b *Booth) lost() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unlink()
	b.tell(false)
}

// subscribe asks for every topic until the broker grants it or link ends.
func (b *Booth) subscribe(link context.Context, cm *autopaho.ConnectionManager) {
	b.mu.Lock()
	s := &paho.Subscribe{}
	for t := range b.topics {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: t, QoS: 1})
	}
	b.mu.Unlock()
	if len(s.Subscriptions) == 0 {
		return
	}
	for link.Err() == nil {
		// The library gives up after ten seconds, also while the connection stays up.
		_, err := cm.Subscribe(link, s)
		if err == nil {
			break
		}
		log.Print("subscribe: ", err)
		select {
		case <-time.After(time.Second):
		case <-link.Done():
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if link.Err() == nil { // and was not lost while it subscribed
		b.tell(true)
	}
}

// tell says whether commands can come; mu is held, so that the last word is true.
func (b *Booth) tell(up bool) {
	b.up = up
	for _, f := range b.changed {
		f(up)
	}
}

func (b *Booth) deliver(p *paho.Publish) bool {
	b.mu.Lock()
	f := b.topics[p.Topic]
	b.mu.Unlock()
	if f == nil {
		return false
	}
	f(p.Topic, p.Payload, p.Retain)
	return true
}

// Publish publishes at QoS 1 and returns when the broker has it.
func (b *Booth) Publish(ctx context.Context, topic string, payload []byte, retain bool) error {
	_, err := b.conn.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Retain: retain, Payload: payload})
	return err
}

// Subscribe hands the topic's messages to f from now on.
func (b *Booth) Subscribe(topic string, f func(topic string, payload []byte, retained bool)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.topics[topic] = f
	if b.link != nil && b.link.Err() == nil {
		go b.subscribe(b.link, b.conn)
	}
}

// OnConnection calls f with the connection's state, now and at each change.
func (b *Booth) OnConnection(f func(up bool)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed = append(b.changed, f)
	f(b.up)
}

// Busy says why an engineer must wait, nil when he need not.
func (b *Booth) Busy() error {
	if b.photos.Load() > 0 {
		return errors.New("a customer is having pictures taken")
	}
	return nil
}

// Light tells staff that somebody is connected.
func (b *Booth) Light(on bool) {
	if b.lit.Swap(on) != on {
		log.Print("light ", strings.NewReplacer("true", "on", "false", "off").Replace(fmt.Sprint(on)))
	}
}

// Services are where the booth's local services listen, where not on the usual
// port of 127.0.0.1.
func (b *Booth) Services() map[keys.Port]string { return b.services }
