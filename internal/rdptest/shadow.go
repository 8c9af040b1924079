//go:build linux

package rdptest

import (
	"encoding/hex"
	"net"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/crypto/md4"

	"github.com/boothwire/boothwire/internal/netlab"
)

// A Server is an RDP server that runs until the test ends.
type Server struct {
	Port           int // on 127.0.0.1 of its host
	User, Password string
	Cert, Key      string // files, PEM

	process *process
}

// Stop ends the server before its test does, so that another one can have the port.
func (s *Server) Stop() {
	s.process.cmd.Process.Kill()
	<-s.process.gone
}

// Shadow serves a screen by FreeRDP's shadow server, which demands NLA.
func Shadow(t testing.TB, s *Screen, port int) *Server {
	t.Helper()
	netlab.Require(t, "freerdp-shadow-cli")
	home := t.TempDir() // it makes its certificate there
	made := filepath.Join(home, "freerdp", "shadow", "shadow")
	server := &Server{Port: port, User: "kiosk", Password: "booth-4711", Cert: made + ".crt", Key: made + ".key"}
	sam := filepath.Join(home, "sam")
	write(t, sam, "%s:::%s:::\n", server.User, ntHash(server.Password))
	p := start(t, s.host, []string{"DISPLAY=" + s.display, "HOME=" + home, "XDG_CONFIG_HOME=" + home},
		"freerdp-shadow-cli", "/bind-address:127.0.0.1", "/port:"+strconv.Itoa(port), "/sec:nla", "+auth", "/sam-file:"+sam)
	p.awaitPort(t, s.host, port)
	server.process = p
	return server
}

// ntHash is how NTLM keeps a password.
func ntHash(password string) string {
	h := md4.New()
	for _, c := range password { // plain ASCII: UTF-16 is a zero after each
		h.Write([]byte{byte(c), 0})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// awaitPort waits until the process takes connections on 127.0.0.1.
func (p *process) awaitPort(t testing.TB, host *netlab.Host, port int) {
	t.Helper()
	p.await(t, "its port", func() error {
		dial := func() error {
			c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err == nil {
				c.Close()
			}
			return err
		}
		if host != nil {
			return host.Do(dial)
		}
		return dial()
	})
}
