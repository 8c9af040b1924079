package parts

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/boothwire/boothwire/internal/daemon"
)

// A Broker is where devices and control meet. Its zero value is none.
type Broker struct {
	URL    string
	Secret string // of which passwords are made; "": Login is everybody's
	Login  Login  // of a broker that somebody else runs
	CA     string // file, of such a broker's certificate; "": the system's
}

// A Login is a name and a password at a broker.
type Login struct{ User, Password string }

// control is control's name at a broker of ours; devices have their ids.
const control = "control"

// As is how user signs in.
func (b Broker) As(user string) Login {
	if b.Secret == "" {
		return b.Login
	}
	h := hmac.New(sha256.New, []byte(b.Secret))
	h.Write([]byte(user))
	return Login{user, base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])}
}

// TLS is how the broker's certificate is verified.
func (b Broker) TLS() (*tls.Config, error) { return daemon.TLS{CA: b.CA}.Config() }

// acl keeps devices apart, as docs/OPERATING.md says.
const acl = `user control
topic write iot/+/cmd
topic read iot/+/status
pattern read iot/%u/cmd
pattern write iot/%u/status
`

// startBroker runs Mosquitto as docs/OPERATING.md sets it up, but without TLS, since
// it is on loopback only.
func startBroker(ctx context.Context, dir string, devices []string) (Broker, *Process, error) {
	bin, err := mosquitto()
	if err != nil {
		return Broker{}, nil, err
	}
	address, err := FreeAddress()
	if err != nil {
		return Broker{}, nil, err
	}
	b := Broker{URL: "mqtt://" + address, Secret: rand.Text()}
	users, rules, conf := filepath.Join(dir, "users"), filepath.Join(dir, "acl"), filepath.Join(dir, "mosquitto.conf")
	var list strings.Builder
	for _, u := range append([]string{control}, devices...) {
		l := b.As(u)
		fmt.Fprintf(&list, "%s:%s\n", l.User, l.Password)
	}
	_, port, _ := net.SplitHostPort(address)
	text := fmt.Sprintf("per_listener_settings false\nallow_anonymous false\npassword_file %s\nacl_file %s\nset_tcp_nodelay true\npersistence false\nlog_type error\nlog_type warning\nlistener %s 127.0.0.1\n", users, rules, port)
	if os.Geteuid() == 0 {
		text += "user root\n" // the folder is this program's own
	}
	for file, content := range map[string]string{users: list.String(), rules: acl, conf: text} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return b, nil, err
		}
	}
	if _, err := output(ctx, "mosquitto_passwd", "-U", users); err != nil {
		return b, nil, err
	}
	p, err := run(dir, "broker", bin, "-c", conf)
	if err != nil {
		return b, nil, err
	}
	return b, p, p.await(ctx, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// mosquitto finds it where a user's PATH does not reach.
func mosquitto() (string, error) {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"} {
		if bin, err := exec.LookPath(name); err == nil {
			return bin, nil
		}
	}
	return "", errors.New("mosquitto is not installed (apt-get install mosquitto); -broker names another broker")
}

// FreeAddress is an address of loopback with a TCP port that nobody has at the moment.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// freePort is a UDP port that nobody has at the moment on any address: a node listens on
// all, and the devices of another fleet have one each.
func freePort() (int, error) {
	c, err := net.ListenPacket("udp", ":0")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port, nil
}
