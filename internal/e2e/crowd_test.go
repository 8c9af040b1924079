//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	mqttpackets "github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"golang.org/x/sync/errgroup"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// A crowd is devices of which there is nothing but what they say: each signs its own
// statuses, and one connection to the broker publishes them all.
type crowd struct {
	t       testing.TB
	devices []*keys.Device // that speak
	silent  map[string]keys.IdentityKey
	line    *autopaho.ConnectionManager
}

// crowdGroups are the cities among which a crowd's devices are spread.
var crowdGroups = []string{"beijing", "shanghai", "guangzhou", "shenzhen", "chengdu"}

// newCrowd makes n devices with identities of their own, of which so many speak.
func newCrowd(t testing.TB, n, speak int, roots []string) *crowd {
	t.Helper()
	c := &crowd{t: t, devices: make([]*keys.Device, speak), silent: make(map[string]keys.IdentityKey)}
	name := func(i int) string { return fmt.Sprintf("booth-%05d", i) }
	err := c.each(upTo(speak), func(i int) (err error) {
		c.devices[i], err = keys.OpenDevice(name(i*n/speak), keys.NewMemory(), keys.Trust{Roots: roots})
		return err
	})
	for i := 0; i < n && err == nil; i++ {
		if i*speak%n < speak {
			continue // it speaks
		}
		var identity *keys.Identity
		if identity, err = keys.OpenIdentity(keys.NewMemory(), "identity"); err == nil {
			c.silent[name(i)] = identity.Key()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// upTo counts from 0.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// csv registers the crowd.
func (c *crowd) csv() string {
	var b strings.Builder
	b.WriteString("id,key,group\n")
	add := func(id string, key keys.IdentityKey) {
		fmt.Fprintf(&b, "%s,%s,%s\n", id, key, crowdGroups[int(id[len(id)-2])%len(crowdGroups)])
	}
	for _, d := range c.devices {
		add(d.ID(), d.Key())
	}
	for id, key := range c.silent {
		add(id, key)
	}
	return b.String()
}

// connect opens the connection that all of them share.
func (c *crowd) connect(broker, user, password string, secure *tls.Config, dial func(network, address string) (net.Conn, error)) {
	c.t.Helper()
	u, err := url.Parse(broker)
	if err != nil {
		c.t.Fatal(err)
	}
	c.line, err = autopaho.NewConnection(c.t.Context(), autopaho.ClientConfig{
		ServerUrls:      []*url.URL{u},
		ConnectUsername: user,
		ConnectPassword: []byte(password),
		ClientConfig:    paho.ClientConfig{ClientID: "crowd"},
		AttemptConnection: func(_ context.Context, _ autopaho.ClientConfig, u *url.URL) (net.Conn, error) {
			conn, err := dial("tcp", u.Host)
			if err != nil {
				return nil, err
			}
			if secure != nil {
				secure := secure.Clone()
				secure.ServerName = u.Hostname()
				conn = tls.Client(conn, secure)
			}
			return mqttpackets.NewThreadSafeConn(conn), nil
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := c.line.AwaitConnection(ctx); err != nil {
		c.t.Fatalf("the crowd and the broker: %v", err)
	}
}

// say publishes a status of the i-th device, retained as a device's own is.
func (c *crowd) say(i int, st signaling.Status) error {
	d := c.devices[i]
	payload, err := json.Marshal(st)
	if err != nil {
		return err
	}
	if st.Token, err = d.Sign(keys.TypeStatus, payload); err != nil {
		return err
	}
	st.Prekeys = d.Prekeys()
	if payload, err = json.Marshal(st); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	_, err = c.line.Publish(ctx, &paho.Publish{Topic: "iot/" + d.ID() + "/status", QoS: 1, Retain: true, Payload: payload})
	return err
}

// greet lets every device say that it is there, until control knows: a broker drops
// what it cannot hand on at once.
func (c *crowd) greet(api *client.Client) {
	c.t.Helper()
	missing := upTo(len(c.devices))
	eventually(c.t, "control hears the crowd", func() error {
		if err := c.each(missing, func(i int) error { return c.say(i, c.idle(i)) }); err != nil {
			return err
		}
		online := make(map[string]bool)
		for d, err := range api.Devices(c.t.Context(), client.Filter{}) {
			if err != nil {
				return err
			}
			online[d.ID] = d.Online == client.Online
		}
		missing = slices.DeleteFunc(missing, func(i int) bool { return online[c.devices[i].ID()] })
		if len(missing) > 0 {
			return fmt.Errorf("%d are missing", len(missing))
		}
		return nil
	})
}

// each calls f for devices, several at once, until one fails.
func (c *crowd) each(which []int, f func(i int) error) error {
	var wg errgroup.Group
	wg.SetLimit(64)
	for _, i := range which {
		wg.Go(func() error { return f(i) })
	}
	return wg.Wait()
}

// idle is the status of the i-th device when nothing happens.
func (c *crowd) idle(i int) signaling.Status {
	return signaling.Status{VPN: signaling.Disconnected, V: 1, Version: fmt.Sprintf("3.%d.%d", i%4, i%3), Next: 15 * time.Minute, Roots: 1}
}

// populate registers a crowd with the world's control, and lets it speak as one client
// of the world's broker; so many of it speak.
func (w *world) populate(n, speak int) *crowd {
	w.t.Helper()
	var trust struct{ Roots []string }
	if err := json.Unmarshal([]byte(w.ctl("trust", "--json")), &trust); err != nil {
		w.t.Fatal(err)
	}
	began := time.Now()
	c := newCrowd(w.t, n, speak, trust.Roots)
	made := time.Now()
	file := filepath.Join(w.dir, "crowd.csv")
	w.write(file, c.csv())
	w.ctl("devices", "import", file)
	registered := time.Now()
	c.connect("mqtts://"+addrBroker+":8883", "crowd", "secret-crowd", &tls.Config{RootCAs: w.ca.Pool()}, func(network, address string) (conn net.Conn, err error) {
		err = w.operator.Do(func() error { conn, err = net.DialTimeout(network, address, patience); return err })
		return conn, err
	})
	c.greet(w.api())
	w.t.Logf("%d devices: made in %v, registered in %v, heard in %v", n, made.Sub(began), registered.Sub(made), time.Since(registered))
	return c
}
