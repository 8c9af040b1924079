// Package mosquittotest runs a real Mosquitto for one test: on loopback, with
// files in the test's own folder, gone with the test.
package mosquittotest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/testca"
)

// Options say what the broker offers beside its plain listener.
type Options struct {
	// TLS and WebSocket add a listener each, WebSocketTLS both in one; their
	// certificate is for localhost, 127.0.0.1 and ::1.
	TLS, WebSocket, WebSocketTLS bool
	// ClientCertificates requires one of Broker.CA on the TLS listeners; its
	// common name is the user.
	ClientCertificates bool
	// Server are the files of another certificate for the TLS listeners.
	ServerCert, ServerKey string
	// Users are names and passwords; none: anyone may connect.
	Users map[string]string
	// ACL are the lines of an acl_file, such as FleetACL; "": everything goes.
	ACL string
	// Persist keeps retained messages and sessions over Restart and Kill.
	Persist bool
	// Extra are lines of the configuration.
	Extra string
}

// FleetACL lets the user "control" talk to every device, and each device, whose
// user is its id, to control alone.
const FleetACL = `user control
topic write iot/+/cmd
topic read iot/+/status
pattern read iot/%u/cmd
pattern write iot/%u/status
`

// patience is far more than a start should take, on a machine that has much else to do.
const patience = time.Minute

// A Broker is a running Mosquitto.
type Broker struct {
	CA *testca.CA // of the TLS listeners

	t     testing.TB
	bin   string
	dir   string
	ports [4]int
	open  []int // of ports
	cmd   *exec.Cmd
	done  chan struct{} // closed when the process is gone
}

const (
	plain = iota
	secure
	socket
	secureSocket
)

// Start runs a broker until the test ends. Without Mosquitto it skips the test;
// with CI=true in the environment it fails it.
func Start(t testing.TB, o Options) *Broker {
	t.Helper()
	b := &Broker{t: t, dir: t.TempDir(), bin: find(t)}
	b.CA = testca.New(t, b.dir)
	// Another process may take a port that was free just now.
	var err error
	for range 5 {
		b.configure(o)
		if err = b.start(); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Kill()
		if t.Failed() {
			if log, err := os.ReadFile(filepath.Join(b.dir, "log")); err == nil {
				t.Logf("mosquitto:\n%s", log[max(0, len(log)-4000):])
			}
		}
	})
	return b
}

func find(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"} {
		if bin, err := exec.LookPath(name); err == nil {
			return bin
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("mosquitto is not installed")
	}
	t.Skip("mosquitto is not installed: apt-get install mosquitto")
	return ""
}

// URL is that of the plain listener: mqtt://127.0.0.1:port.
func (b *Broker) URL() string { return fmt.Sprintf("mqtt://%s", b.Addr()) }

// TLSURL, WebSocketURL and WebSocketTLSURL are those of the other listeners.
func (b *Broker) TLSURL() string       { return fmt.Sprintf("mqtts://127.0.0.1:%d", b.ports[secure]) }
func (b *Broker) WebSocketURL() string { return fmt.Sprintf("ws://127.0.0.1:%d/mqtt", b.ports[socket]) }
func (b *Broker) WebSocketTLSURL() string {
	return fmt.Sprintf("wss://127.0.0.1:%d/mqtt", b.ports[secureSocket])
}

// Addr is the plain listener's.
func (b *Broker) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.ports[plain])) }

// Log is what the broker has logged so far.
func (b *Broker) Log() string {
	text, err := os.ReadFile(filepath.Join(b.dir, "log"))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// Kill ends the broker with SIGKILL and waits until it is gone.
func (b *Broker) Kill() {
	if b.cmd == nil {
		return
	}
	b.cmd.Process.Kill()
	<-b.done
	b.cmd = nil
}

// Stop ends the broker as an administrator would: it says goodbye.
func (b *Broker) Stop() {
	if b.cmd == nil {
		return
	}
	if runtime.GOOS == "windows" || b.cmd.Process.Signal(os.Interrupt) != nil {
		b.cmd.Process.Kill()
	}
	<-b.done
	b.cmd = nil
}

// Restart starts the broker again, on its old ports.
func (b *Broker) Restart() {
	b.t.Helper()
	b.Kill()
	if err := b.start(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *Broker) configure(o Options) {
	b.t.Helper()
	var c bytes.Buffer
	c.WriteString("per_listener_settings false\nset_tcp_nodelay true\nlog_dest stderr\nlog_type all\nconnection_messages true\nmax_queued_messages 1000\n")
	if os.Geteuid() == 0 {
		c.WriteString("user root\n") // the test's folder is its own
	}
	if o.Persist {
		fmt.Fprintf(&c, "persistence true\npersistence_location %s/\nautosave_on_changes true\nautosave_interval 1\n", b.dir)
	}
	if len(o.Users) > 0 {
		var users strings.Builder
		for name, password := range o.Users {
			fmt.Fprintf(&users, "%s:%s\n", name, password)
		}
		b.write("users", users.String())
		if out, err := exec.Command("mosquitto_passwd", "-U", filepath.Join(b.dir, "users")).CombinedOutput(); err != nil {
			b.t.Fatalf("mosquitto_passwd: %v: %s", err, out)
		}
		fmt.Fprintf(&c, "password_file %s\nallow_anonymous false\n", filepath.Join(b.dir, "users"))
	} else if !o.ClientCertificates {
		c.WriteString("allow_anonymous true\n")
	}
	if o.ACL != "" {
		b.write("acl", o.ACL)
		fmt.Fprintf(&c, "acl_file %s\n", filepath.Join(b.dir, "acl"))
	}
	cert, key := o.ServerCert, o.ServerKey
	if cert == "" {
		cert, key = b.CA.Server("broker", []string{"localhost", "127.0.0.1", "::1"})
	}
	b.ports, b.open = freePorts(b.t), nil
	listener := func(which int, tls, websockets bool) {
		b.open = append(b.open, b.ports[which])
		fmt.Fprintf(&c, "listener %d 127.0.0.1\n", b.ports[which])
		if websockets {
			c.WriteString("protocol websockets\n")
		}
		if tls {
			fmt.Fprintf(&c, "cafile %s\ncertfile %s\nkeyfile %s\n", b.CA.File, cert, key)
			if o.ClientCertificates {
				c.WriteString("require_certificate true\nuse_identity_as_username true\n")
			}
		}
	}
	listener(plain, false, false)
	if o.TLS {
		listener(secure, true, false)
	}
	if o.WebSocket {
		listener(socket, false, true)
	}
	if o.WebSocketTLS {
		listener(secureSocket, true, true)
	}
	c.WriteString(o.Extra)
	b.write("conf", c.String())
}

func (b *Broker) start() error {
	log, err := os.OpenFile(filepath.Join(b.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(b.bin, "-c", filepath.Join(b.dir, "conf"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	b.cmd, b.done = cmd, done
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if b.answers() {
			return nil
		}
		select {
		case <-done:
			b.cmd = nil
			return fmt.Errorf("mosquitto ended: %s", b.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
	b.Kill()
	return fmt.Errorf("mosquitto does not answer: %s", b.Log())
}

// answers reports whether every listener is up. The plain one is the first that
// Mosquitto opens; where a later one fails, it gives up.
func (b *Broker) answers() bool {
	for _, port := range b.open {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		c.Close()
	}
	return true
}

func (b *Broker) write(name, text string) {
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// freePorts finds ports below those that systems give to outgoing connections: a
// broker that is restarted wants its own again.
func freePorts(t testing.TB) (ports [4]int) {
	for i := range ports {
		for tries := 0; ; tries++ {
			port := 10000 + rand.N(20000)
			ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err == nil {
				defer ln.Close()
				ports[i] = port
				break
			}
			if tries == 100 {
				t.Fatal(err)
			}
		}
	}
	return ports
}
