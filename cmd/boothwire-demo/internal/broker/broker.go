// Package broker is the demo's MQTT broker: on a loopback port, with a password
// and an access list for each client, as a real one would be set up. It is for
// a demo only; a fleet runs Mosquitto, EMQX or another broker of its own.
package broker

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// Control is the user name of the back end.
const Control = "control"

// A Broker serves until Close.
type Broker struct {
	URL string // mqtt://127.0.0.1:PORT

	server    *mqtt.Server
	passwords map[string]string
}

// Start starts a broker on a free port of 127.0.0.1 for control and the devices:
// a device reads its own commands and writes its own status, control the other
// way round, and nobody anything else.
func Start(devices ...string) (*Broker, error) {
	b := &Broker{passwords: make(map[string]string)}
	rules := &auth.Ledger{
		Users: make(auth.Users),
		ACL: auth.ACLRules{{Username: Control, Filters: auth.Filters{
			"iot/+/cmd":    auth.WriteOnly,
			"iot/+/status": auth.ReadOnly,
			"#":            auth.Deny,
		}}},
	}
	for _, name := range append([]string{Control}, devices...) {
		b.passwords[name] = rand.Text()
		rules.Users[name] = auth.UserRule{Username: auth.RString(name), Password: auth.RString(b.passwords[name])}
		if name == Control {
			continue
		}
		rules.ACL = append(rules.ACL, auth.ACLRule{Username: auth.RString(name), Filters: auth.Filters{
			auth.RString("iot/" + name + "/cmd"):    auth.ReadOnly,
			auth.RString("iot/" + name + "/status"): auth.WriteOnly,
			"#":                                     auth.Deny,
		}})
	}
	b.server = mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := b.server.AddHook(new(auth.Hook), &auth.Options{Ledger: rules}); err != nil {
		return nil, fmt.Errorf("start the demo's broker: %w", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the demo's broker: %w", err)
	}
	if err := b.server.AddListener(listeners.NewNet("demo", ln)); err != nil {
		ln.Close()
		return nil, fmt.Errorf("start the demo's broker: %w", err)
	}
	b.URL = "mqtt://" + ln.Addr().String()
	go b.server.Serve()
	return b, nil
}

// Password is what the named client signs in with.
func (b *Broker) Password(name string) string { return b.passwords[name] }

// Close disconnects everybody and ends the broker.
func (b *Broker) Close() error { return b.server.Close() }
