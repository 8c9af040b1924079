package console

import (
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/boothwire/boothwire/gateway/control/console/internal/consoletest"
	"github.com/boothwire/boothwire/gateway/control/console/internal/desktop"
	"github.com/boothwire/boothwire/gateway/control/console/internal/guacdtest"
	"github.com/boothwire/boothwire/internal/browsertest"
	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/internal/rdptest"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel/agent"
)

// TestDesktopInBrowser signs in to FreeRDP's server with NLA through page, engine, console
// and tunnel.
func TestDesktopInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("short: a browser and an RDP server")
	}
	netlab.Require(t, "node", "chromium", "Xvfb", "freerdp-shadow-cli", "xterm")
	browsertest.Tools(t)
	needEngine(t, desktop.EngineIron)
	t.Parallel() // it mostly waits
	folder := t.TempDir()
	screen := rdptest.NewScreen(t, nil, 1280, 720)
	screen.Terminal(folder)
	server := rdptest.Shadow(t, screen, freePort(t))
	at := net.JoinHostPort("127.0.0.1", strconv.Itoa(server.Port))

	w := consoletest.New(t, nil)
	var err error
	if w.RDP, err = agent.RDPCertificate(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	w.Device("kiosk-1", "north", map[keys.Port]string{keys.TCP(3389): at}, nil)
	b := boothOf(t, w, &Config{Policy: Policy{Ports: []keys.Port{keys.TCP(3389)}}})

	ann := b.as(t, operatorOf("ann", "north"))
	id := b.connect(t, ann, `{"device":"kiosk-1"}`)
	until(t, b.follow(t, ann, id), "ready", ready)
	args := map[string]string{"user": server.User, "password": server.Password, "wrong": "not it"}
	b.play(t, "desktop.mjs", ann, id, args, map[string]func(json.RawMessage) (any, error){
		"exists": func(data json.RawMessage) (any, error) {
			var name string
			if err := json.Unmarshal(data, &name); err != nil {
				return nil, err
			}
			_, err := os.Stat(filepath.Join(folder, name))
			return err == nil, nil
		},
	})
	if v := b.DesktopStats(); v.Opened < 2 || v.FromDev == 0 {
		t.Errorf("counted %+v", v)
	}
}

// TestGuacamoleInBrowser draws a desktop with a guacd of our own.
func TestGuacamoleInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("short: a browser")
	}
	netlab.Require(t, "node", "chromium")
	browsertest.Tools(t)
	needEngine(t, desktop.EngineGuacd)
	peer := guacdtest.Start(t)
	b := newDesktopBooth(t, func(c *Config) {
		c.Desktop = Desktop{Record: true, Guacd: &Guacd{Address: peer.Address, Recordings: "/recordings", Drive: true}}
	})
	ann := b.as(t, operatorOf("ann", "north"))
	id := b.connect(t, ann, `{"device":"kiosk-1"}`)
	until(t, b.follow(t, ann, id), "ready", ready)
	var now *guacdtest.Client
	b.play(t, "guacamole.mjs", ann, id, nil, map[string]func(json.RawMessage) (any, error){
		"heard": func(json.RawMessage) (any, error) {
			if now == nil {
				now = <-peer.Clients
			}
			return now.Heard(), nil
		},
		"file": func(json.RawMessage) (any, error) { return now.File(), nil },
	})
	if now == nil || now.Arguments["password"] != "a 密码" || now.Arguments["sftp-username"] != "service" || now.Hello["timezone"] == nil {
		t.Errorf("guacd was told %+v", now)
	}
}

// play plays a scenario with the desktop of a session, which it may leave.
func (b *booth) play(t *testing.T, file string, as *http.Client, session string, args map[string]string, answers map[string]func(json.RawMessage) (any, error)) {
	t.Helper()
	where, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"url": b.url, "session": session, "cookie": as.Jar.Cookies(where)[0].Value}
	maps.Copy(all, args)
	answers["leave"] = func(json.RawMessage) (any, error) {
		held, err := b.held.Find("ann", session)
		if err != nil {
			return nil, err
		}
		return nil, held.Leave()
	}
	t.Logf("%s", browsertest.Play(t, browsertest.Scenario{File: file, Args: all, Answers: answers}))
}

// needEngine skips where an engine is not built in.
func needEngine(t *testing.T, engine string) {
	t.Helper()
	if _, err := engines.Open(engineFiles[engine]); err != nil {
		netlab.Missing(t, "this test needs the console's engines built in (make assets)")
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}
