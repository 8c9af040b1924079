//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/internal/testca"
	"github.com/boothwire/boothwire/keys"
)

// newMatrixWorld is a natWorld in which every program runs: the deployment, and an
// agent at each site of a device.
func newMatrixWorld(t *testing.T) (*natWorld, *client.Client) {
	t.Helper()
	netlab.Require(t, "mosquitto")
	program(t, "boothctl") // built before anything waits for it
	w := newNATWorld(t)
	w.ca = testca.New(t, w.dir)
	w.runBroker()
	relay := keys.NewPrivateKey()
	w.runControl(relay.Public())
	api := w.api()
	trust, err := api.Trust(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.runRelay(relay, trust.Roots)
	w.startNode(addrNode+":51820", "["+addrNode6+"]:51820")
	for _, kind := range netlab.Matrix() {
		w.runAgent(api, kind, trust.Roots)
	}
	return w, api
}

// deviceID is of the device of a kind.
func deviceID(kind netlab.Kind) string {
	return "kiosk-" + strings.ToLower(strings.ReplaceAll(string(kind), " ", "-"))
}

// runBroker has two doors: MQTT over TLS, and over WebSocket on 443.
func (w *natWorld) runBroker() {
	cert, key := w.ca.Server("broker", []string{addrBroker, addrBroker6})
	users := "control:secret-control\n"
	for _, kind := range netlab.Matrix() {
		users += fmt.Sprintf("%s:secret-%[1]s\n", deviceID(kind))
	}
	passwords, acl, conf := filepath.Join(w.dir, "passwords"), filepath.Join(w.dir, "acl"), filepath.Join(w.dir, "mosquitto.conf")
	w.write(passwords, users)
	w.broker.Run("mosquitto_passwd", "-U", passwords)
	os.Chmod(passwords, 0o644)
	w.write(acl, "user control\ntopic write iot/+/cmd\ntopic read iot/+/status\npattern read iot/%u/cmd\npattern write iot/%u/status\n")
	files := fmt.Sprintf("cafile %s\ncertfile %s\nkeyfile %s\n", w.ca.File, cert, key)
	w.write(conf, fmt.Sprintf(`user root
per_listener_settings false
allow_anonymous false
password_file %s
acl_file %s
set_tcp_nodelay true
persistence false
listener 8883
%[3]slistener 443
protocol websockets
%[3]s`, passwords, acl, files))
	w.mosquitto = start(w.t, w.broker, "mosquitto", "-c", conf)
	w.mosquitto.waitLog(0, "running")
}

// runControl names the relay twice, once by each family: a host that has only one
// of them passes over the other.
func (w *natWorld) runControl(relay keys.PublicKey) {
	cert, key := w.ca.Server("control", []string{addrControl, addrControl6})
	w.controlConfig = filepath.Join(w.dir, "control.toml")
	w.write(w.controlConfig, fmt.Sprintf(`
state = %q
listen = ":443"
stun = ["%s:3478", "[%s]:3478"]
[tls]
cert = %q
key = %q
[mqtt]
url = "mqtts://%s:8883"
username = "control"
password = "secret-control"
ca = %q
[[relay]]
name = "relay-1"
url = "https://%[2]s/relay"
key = %[8]q
[[relay]]
name = "relay-1-6"
url = "https://[%[3]s]/relay"
key = %[8]q
`, filepath.Join(w.dir, "control"), addrRelay, addrRelay6, cert, key, addrBroker, w.ca.File, relay.String()))
	bin := program(w.t, "boothwire-control")
	w.token = strings.TrimSpace(w.controlHost.Run(bin, "-config", w.controlConfig, "token", "engineer", "admin"))
	w.control = start(w.t, w.controlHost, bin, "-config", w.controlConfig)
	w.control.waitLog(0, "serving")
}

func (w *natWorld) runRelay(relay keys.PrivateKey, roots []string) {
	cert, key := w.ca.Server("relay", []string{addrRelay, addrRelay6})
	state, token, config := filepath.Join(w.dir, "relay"), filepath.Join(w.dir, "relay-token"), filepath.Join(w.dir, "relay.toml")
	if err := keys.Dir(state).Save("relay-key", []byte(relay.Expose())); err != nil {
		w.t.Fatal(err)
	}
	w.write(token, w.ctl("tokens", "add", "relay-1", "relay"))
	var stun []string
	for _, at := range stunSockets() {
		stun = append(stun, at.String())
	}
	w.write(config, fmt.Sprintf(`
name = "relay-1"
state = %q
listen = ":443"
roots = [%s]
control = "https://%s"
token_file = %q
ca = %q
stun = [%s]
[tls]
cert = %q
key = %q
`, state, quoted(roots), addrControl, token, w.ca.File, quoted(stun), cert, key))
	w.relay = start(w.t, w.relayHost, program(w.t, "boothwire-relay"), "-config", config)
	w.relay.waitLog(0, "relay serves")
}

// runAgent starts a device, whose tcp/22 says again what it is told. Its lines are
// those of every device: which of them gets through it finds out.
func (w *natWorld) runAgent(api *client.Client, kind netlab.Kind, roots []string) {
	site, id := w.devices[kind], deviceID(kind)
	state := filepath.Join(w.dir, id)
	device, err := keys.OpenDevice(id, keys.Dir(state), keys.Trust{Roots: roots})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := api.AddDevice(context.Background(), id, device.Key()); err != nil {
		w.t.Fatal(err)
	}
	broker, control := addrBroker, addrControl
	if kind == netlab.OnlyIPv6 {
		broker, control = "["+addrBroker6+"]", "["+addrControl6+"]"
	}
	text := fmt.Sprintf("device = %q\nstate = %q\nroots = [%s]\nmode = \"driverless\"\nrelay_ca = %q\n", id, state, quoted(roots), w.ca.File)
	for _, line := range []string{"mqtts://" + broker + ":8883", "wss://" + broker + "/mqtt", "https://" + control + "/device/"} {
		text += fmt.Sprintf("[[line]]\nurl = %q\nusername = %q\npassword = %q\nca = %q\nspread = \"1s\"\n", line, id, "secret-"+id, w.ca.File)
	}
	config := filepath.Join(w.dir, id+".toml")
	w.write(config, text)
	w.echo(site.Host)
	startWith(w.t, site.Host, proxyOf(site), program(w.t, "boothwire-agent"), "-config", config)
}

// proxyOf is the environment of a program at a site.
func proxyOf(s *netlab.Site) []string {
	if s.Proxy == "" {
		return nil
	}
	u := url.URL{Scheme: "http", Host: s.Proxy, User: url.UserPassword(netlab.ProxyUser, netlab.ProxyPassword)}
	return []string{"HTTPS_PROXY=" + u.String()}
}

// echo serves tcp/22 of a device until the test ends.
func (w *natWorld) echo(h *netlab.Host) {
	var ln net.Listener
	if err := h.Do(func() (err error) { ln, err = net.Listen("tcp", "127.0.0.1:22"); return }); err != nil {
		w.t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				io.Copy(c, c)
				c.Close()
			})
		}
	})
	w.t.Cleanup(func() { ln.Close(); work.Wait() })
}
