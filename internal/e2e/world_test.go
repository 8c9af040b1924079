//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/internal/testca"
)

// The addresses of the world; the drawing shows them.
const (
	addrControl  = "203.0.113.10"
	addrSecond   = "203.0.113.11" // of another control
	addrBroker   = "203.0.113.20"
	addrNode     = "203.0.113.30"
	addrShop     = "203.0.113.40"
	addrOperator = "203.0.113.50"
	addrRelay    = "203.0.113.60"
	addrKiosk    = "192.168.7.2"

	kiosk = "kiosk-1"
	node  = "wg-bj-01"

	consolePassword = "of the console's administrator"
)

// A world is a whole deployment: a kiosk behind a shop's NAT, and broker,
// control, node and engineer on the internet.
type world struct {
	t                                                               testing.TB
	dir                                                             string
	lab                                                             *netlab.Lab
	ca                                                              *testca.CA
	kiosk, shop, controlHost, broker, nodeHost, relayHost, operator *netlab.Host
	secondHost                                                      *netlab.Host // nil: there is one control

	front string // the address of the control that everybody speaks to

	control, second, gateway, agent, mosquitto, sshd, relay *process

	controlConfig, gatewayConfig, agentConfig string
	token                                     string // an admin's
	sshKey                                    string // the engineer's
	sftpRoot                                  string // where the kiosk's sshd finds files
}

// options are what tests vary; the zero value is the ordinary deployment.
type options struct {
	bare  bool             // minimal commands are allowed
	delay netlab.Emulation // of the kiosk's uplink; zero: a plain link
	mode  string           // of the agent; default driverless
	lines []string         // of the agent: mqtts, wss, https; default all
	relay bool             // a relay with a STUN server stands beside the broker

	console bool   // control has one, with a local administrator
	rdpCert string // that the agent signs the hash of

	up, down int64 // bit/s of a session, from the kiosk and to it; 0: no limit

	database string // that two controls share; default: there is one, with its own

	network func(*world) // lays out the hosts; default: a kiosk behind a NAT, all else on the internet
}

// newWorld starts everything and waits until control sees the kiosk online.
func newWorld(t testing.TB, o options) *world {
	t.Helper()
	w := prepare(t, o)
	w.startAgent(o)
	w.waitOnline()
	return w
}

// prepare starts everything but the kiosk's agent.
func prepare(t testing.TB, o options) *world {
	t.Helper()
	netlab.Require(t, "mosquitto", "sshd", "ssh", "scp")
	program(t, "boothctl") // built before anything waits for it
	w := &world{t: t, dir: t.TempDir(), lab: netlab.New(t), front: addrControl}
	if err := os.Chmod(w.dir, 0o755); err != nil { // Mosquitto reads it as its own user
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(w.dir), 0o755); err != nil {
		t.Fatal(err)
	}
	w.ca = testca.New(t, w.dir)
	if o.network != nil {
		o.network(w)
	} else {
		w.network(o)
	}
	w.startBroker()
	w.startControl(o)
	if o.database != "" {
		w.startSecond()
	}
	if o.relay {
		w.startRelay()
	}
	w.startNode(addrNode + ":51820")
	w.startSSH()
	return w
}

func (w *world) network(o options) {
	l := w.lab
	internet := l.Switch("internet")
	for _, h := range []struct {
		host **netlab.Host
		name string
		addr string
	}{
		{&w.controlHost, "control", addrControl}, {&w.broker, "broker", addrBroker},
		{&w.nodeHost, "node", addrNode}, {&w.operator, "operator", addrOperator}, {&w.relayHost, "relay", addrRelay},
	} {
		*h.host = l.Host(h.name)
		l.Link(*h.host, h.addr+"/24", internet, "")
	}
	if o.database != "" {
		w.secondHost = l.Host("second")
		l.Link(w.secondHost, addrSecond+"/24", internet, "")
	}
	w.shop = l.Router("shop")
	wan := l.Link(w.shop, addrShop+"/24", internet, "")
	w.shop.NAT(wan.A)
	w.kiosk = l.Host("kiosk")
	var lan *netlab.Link
	if o.delay == (netlab.Emulation{}) {
		lan = l.Link(w.kiosk, addrKiosk+"/24", w.shop, "192.168.7.1/24")
	} else {
		lan = l.Emulate(w.kiosk, addrKiosk+"/24", w.shop, "192.168.7.1/24", o.delay)
	}
	w.kiosk.Route("default", lan.B.Addr)
	l.Start()
}

// startBroker runs Mosquitto as a careful operator would: TLS only, a password
// for each client, and an access list that keeps kiosks apart.
func (w *world) startBroker() {
	t := w.t
	cert, key := w.ca.Server("broker", []string{addrBroker})
	passwords := filepath.Join(w.dir, "passwords")
	w.write(passwords, "")
	for _, user := range []string{"control", kiosk, "kiosk-2", "vendor", "crowd"} {
		w.broker.Run("mosquitto_passwd", "-b", passwords, user, "secret-"+user)
	}
	os.Chmod(passwords, 0o644)
	acl := filepath.Join(w.dir, "acl")
	w.write(acl, `user control
topic write iot/+/cmd
topic read iot/+/status

# The back end of the generation before, which knows only the minimal JSON.
user vendor
topic write iot/+/cmd
topic read iot/+/status

# Devices that are only their statuses.
user crowd
topic write iot/+/status

pattern read iot/%u/cmd
pattern write iot/%u/status
`)
	conf := filepath.Join(w.dir, "mosquitto.conf")
	// As root only for port 443, which this version opens after it gave root up; a
	// real one has the capability, or a proxy before it.
	w.write(conf, fmt.Sprintf(`user root
per_listener_settings false
allow_anonymous false
password_file %s
acl_file %s
set_tcp_nodelay true
persistence false
listener 8883
cafile %[3]s
certfile %[4]s
keyfile %[5]s
listener 443
protocol websockets
cafile %[3]s
certfile %[4]s
keyfile %[5]s
`, passwords, acl, w.ca.File, cert, key))
	w.mosquitto = start(t, w.broker, "mosquitto", "-c", conf)
	w.mosquitto.waitLog(0, "running")
}

func (w *world) startControl(o options) {
	cert, key := w.ca.Server("control", []string{addrControl})
	var bare string
	if o.bare {
		bare = fmt.Sprintf("%q", node)
	}
	var console string
	if o.console {
		hash, err := bcrypt.GenerateFromPassword([]byte(consolePassword), bcrypt.DefaultCost)
		if err != nil {
			w.t.Fatal(err)
		}
		console = fmt.Sprintf("[console.local]\nname = \"admin\"\npassword_hash = %q\nanywhere = true\n[console.desktop]\nwithout_nla = true\n", hash)
	}
	w.controlConfig = filepath.Join(w.dir, "control.toml")
	w.write(w.controlConfig, fmt.Sprintf(`
database = %q
state = %q
listen = "%s:443"
bare_nodes = [%s]
debug = "127.0.0.1:6060"
up = %d
down = %d
[tls]
cert = %q
key = %q
[mqtt]
url = "mqtts://%s:8883"
username = "control"
password = "secret-control"
ca = %q
%s`, o.database, filepath.Join(w.dir, "control"), addrControl, bare, o.up, o.down, cert, key, addrBroker, w.ca.File, console))
	bin := program(w.t, "boothwire-control")
	w.token = strings.TrimSpace(w.controlHost.Run(bin, "-config", w.controlConfig, "token", "engineer", "admin"))
	w.control = start(w.t, w.controlHost, bin, "-config", w.controlConfig)
	w.control.waitLog(0, "serving")
}

func (w *world) startNode(endpoints ...string) {
	w.gateway, w.gatewayConfig = w.addNode(node, w.nodeHost, endpoints...)
}

// addNode runs a node, and waits until control has it.
func (w *world) addNode(name string, host *netlab.Host, endpoints ...string) (p *process, config string) {
	w.t.Helper()
	claim := strings.TrimSpace(w.ctl("nodes", "add", name))
	config = filepath.Join(w.dir, name+".toml")
	w.write(config, fmt.Sprintf(`
name = %q
state = %q
control = "https://%s"
claim = %q
ca = %q
listen = 51820
endpoints = [%s]
debug = "127.0.0.1:6060"
`, name, filepath.Join(w.dir, name), w.front, claim, w.ca.File, quoted(endpoints)))
	p = start(w.t, host, program(w.t, "boothwire-gateway"), "-config", config)
	w.waitNode(name)
	return p, config
}

// waitNode waits until control has a node: before, no session opens there.
func (w *world) waitNode(name string) {
	w.t.Helper()
	eventually(w.t, "the node "+name+" is online", func() error {
		for _, n := range w.nodes() {
			if n.Name == name && n.State == "connected" {
				return nil
			}
		}
		return fmt.Errorf("nodes: %+v", w.nodes())
	})
}

// A nodeState is a node as boothctl prints it.
type nodeState struct {
	Name, State       string
	Sessions, Leaving int
}

func (w *world) nodes() []nodeState {
	w.t.Helper()
	var all []nodeState
	if err := json.Unmarshal([]byte(w.ctl("nodes", "--json")), &all); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// startRelay runs a relay with control's roots, and names it to control.
func (w *world) startRelay() { w.relay = w.addRelay("relay-1", w.relayHost, addrRelay) }

// addRelay runs one more relay, which also answers STUN, as the last of control's list.
func (w *world) addRelay(name string, host *netlab.Host, addr string) *process {
	cert, key := w.ca.Server(name, []string{addr})
	token := filepath.Join(w.dir, name+"-token")
	w.write(token, w.ctl("tokens", "add", name, "relay"))
	config := filepath.Join(w.dir, name+".toml")
	w.write(config, fmt.Sprintf(`
name = %q
state = %q
listen = "%s:443"
roots = [%s]
control = "https://%s"
token_file = %q
ca = %q
stun = ["%[3]s:3478"]
[tls]
cert = %[8]q
key = %[9]q
`, name, filepath.Join(w.dir, name), addr, w.roots(), addrControl, token, w.ca.File, cert, key))
	bin := program(w.t, "boothwire-relay")
	public := strings.TrimSpace(host.Run(bin, "-config", config, "key"))
	p := start(w.t, host, bin, "-config", config)
	p.waitLog(0, "relay serves")
	w.control.stop()
	text := w.read(w.controlConfig)
	if !strings.Contains(text, "stun = ") {
		text = fmt.Sprintf("stun = [\"%s:3478\"]\n%s", addr, text)
	}
	w.write(w.controlConfig, fmt.Sprintf("%s\n[[relay]]\nname = %q\nurl = \"https://%s/relay\"\nkey = %q\n", text, name, addr, public))
	from := w.control.log.len()
	w.control.run()
	w.control.waitLog(from, "serving")
	if w.gateway != nil {
		w.waitNode(node)
	}
	return p
}

// startSSH runs the kiosk's OpenSSH server on its loopback address.
func (w *world) startSSH() {
	t := w.t
	hostKey := filepath.Join(w.dir, "ssh_host_key")
	w.sshKey = filepath.Join(w.dir, "engineer")
	w.sftpRoot = filepath.Join(w.dir, "kiosk")
	if err := os.MkdirAll(w.sftpRoot, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{hostKey, w.sshKey} {
		w.kiosk.Run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file)
	}
	public, err := os.ReadFile(w.sshKey + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	w.write(w.sshKey+".authorized", string(public))
	os.Chmod(w.sshKey+".authorized", 0o600)
	os.MkdirAll("/run/sshd", 0o755)
	conf := filepath.Join(w.dir, "sshd_config")
	w.write(conf, fmt.Sprintf(`ListenAddress 127.0.0.1
Port 22
HostKey %s
AuthorizedKeysFile %s
PasswordAuthentication no
PidFile none
StrictModes no
UsePAM no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
`, hostKey, w.sshKey+".authorized"))
	w.sshd = start(t, w.kiosk, "/usr/sbin/sshd", "-D", "-e", "-f", conf)
	w.sshd.quiet = true
	w.sshd.waitLog(0, "Server listening")
}

func (w *world) startAgent(o options) {
	if o.mode == "" {
		o.mode = "driverless"
	}
	if o.lines == nil {
		o.lines = []string{"mqtts", "wss", "https"}
	}
	var lines strings.Builder
	for _, l := range o.lines {
		switch l {
		case "mqtts":
			fmt.Fprintf(&lines, "[[line]]\nurl = \"mqtts://%s:8883\"\n", addrBroker)
		case "wss":
			fmt.Fprintf(&lines, "[[line]]\nurl = \"wss://%s:443/mqtt\"\n", addrBroker)
		case "https":
			fmt.Fprintf(&lines, "[[line]]\nurl = \"https://%s/device/\"\n", w.front)
		}
		fmt.Fprintf(&lines, "username = %q\npassword = %q\nca = %q\nspread = \"1s\"\n", kiosk, "secret-"+kiosk, w.ca.File)
	}
	var bare string
	if o.bare {
		bare = fmt.Sprintf("%q", node)
	}
	w.agentConfig = filepath.Join(w.dir, "agent.toml")
	w.write(w.agentConfig, fmt.Sprintf(`
device = %q
state = %q
roots = [%s]
bare = [%s]
mode = %q
ssh_host_key = %q
rdp_certificate = %q
relay_ca = %q
debug = "127.0.0.1:6060"
%s`, kiosk, filepath.Join(w.dir, "agent"), w.roots(), bare, o.mode, filepath.Join(w.dir, "ssh_host_key.pub"), o.rdpCert, w.ca.File, lines.String()))
	bin := program(w.t, "boothwire-agent")
	key := strings.TrimSpace(w.kiosk.Run(bin, "-config", w.agentConfig, "key"))
	w.ctl("devices", "add", kiosk, key)
	w.agent = start(w.t, w.kiosk, bin, "-config", w.agentConfig)
}

func (w *world) roots() string {
	var trust struct{ Roots []string }
	if err := json.Unmarshal([]byte(w.ctl("trust", "--json")), &trust); err != nil {
		w.t.Fatal(err)
	}
	return quoted(trust.Roots)
}

// quoted is the inside of a list in TOML.
func quoted(texts []string) string {
	all := make([]string, len(texts))
	for i, s := range texts {
		all[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(all, ", ")
}

// A device as boothctl devices --json prints it.
type device struct {
	ID, State, Online, Session, Boot, Address, NAT string
}

func (w *world) device() device {
	w.t.Helper()
	var d device
	if err := json.Unmarshal([]byte(w.ctl("devices", "show", kiosk, "--json")), &d); err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) waitOnline() {
	w.t.Helper()
	eventually(w.t, "the kiosk is online", func() error {
		if d := w.device(); d.Online != "online" {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
}

// ctlArgs is boothctl with its address and sign-in.
func (w *world) ctlArgs(args ...string) []string {
	return append([]string{program(w.t, "boothctl"), "--url", "https://" + w.front, "--ca", w.ca.File, "--token", w.token}, args...)
}

// ctl runs boothctl on the engineer's host and returns what it prints.
func (w *world) ctl(args ...string) string {
	w.t.Helper()
	out, err := w.tryCtl(args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) tryCtl(args ...string) (string, error) {
	all := w.ctlArgs(args...)
	return w.operator.Output(all[0], all[1:]...)
}

// sshArgs are ssh's or scp's, going through boothctl proxy.
func (w *world) sshArgs(args ...string) []string {
	proxy := strings.Join(w.ctlArgs("proxy", "%h", "%p"), " ")
	return append([]string{
		"-i", w.sshKey, "-o", "ProxyCommand=" + proxy, "-o", "UserKnownHostsFile=" + filepath.Join(w.dir, "known_hosts"),
		"-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes", "-o", "ConnectTimeout=60",
	}, args...)
}

func (w *world) ssh(args ...string) string {
	w.t.Helper()
	return w.operator.Run("ssh", w.sshArgs(append([]string{"root@" + kiosk}, args...)...)...)
}

func (w *world) write(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(path string) string {
	w.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// settle waits until the kiosk and node have no session left, and then the five
// seconds' grace that anything may take to go.
func (w *world) settle() {
	w.t.Helper()
	eventually(w.t, "no session is left", func() error {
		if d := w.device(); d.Session != "" || d.State != "disconnected" {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
	time.Sleep(5 * time.Second)
}
