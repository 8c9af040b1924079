package desktop

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"golang.org/x/crypto/ssh"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/guac"
	"github.com/boothwire/boothwire/gateway/control/console/internal/guacdtest"
	"github.com/boothwire/boothwire/gateway/control/console/internal/rdcleanpath"
)

var wish = Wish{Username: "kiosk", Password: "hush", Width: 1280, Height: 720, Timezone: "Asia/Shanghai"}

// A guest is a Guacamole client's tunnel.
type guest struct {
	w    *world
	ws   *websocket.Conn
	rest [][]string
}

// joins opens a tunnel with what was wished for.
func (w *world) joins(wish Wish, changes ...func(*Target)) (*guest, *tab) {
	w.t.Helper()
	code, tab := w.code(changes...)
	if err := w.s.Offer("ann", code, wish); err != nil {
		w.t.Fatal(err)
	}
	return &guest{w: w, ws: w.dial("/console/guac?code="+code, "guacamole")}, tab
}

// next is the next instruction; each message has to have whole ones only.
func (c *guest) next() []string {
	c.w.t.Helper()
	if len(c.rest) == 0 {
		kind, b, err := c.ws.Read(c.w.ctx())
		if err != nil || kind != websocket.MessageText {
			c.w.t.Fatalf("%v, %v", kind, err)
		}
		for len(b) > 0 {
			elements, n, err := guac.Next(b)
			if n == 0 || err != nil {
				c.w.t.Fatalf("a message with %q: %v", b, err)
			}
			var texts []string
			for _, e := range elements {
				texts = append(texts, string(e))
			}
			c.rest, b = append(c.rest, texts), b[n:]
		}
	}
	e := c.rest[0]
	c.rest = c.rest[1:]
	return e
}

// until returns the next instruction with an opcode.
func (c *guest) until(opcode string) []string {
	c.w.t.Helper()
	for {
		if e := c.next(); e[0] == opcode {
			return e
		}
	}
}

func (c *guest) says(text string) {
	c.w.t.Helper()
	if err := c.ws.Write(c.w.ctx(), websocket.MessageText, []byte(text)); err != nil {
		c.w.t.Fatal(err)
	}
}

func TestGuacd(t *testing.T) {
	peer := guacdtest.Start(t)
	w := newWorld(t, Config{Guacd: &Guacd{Address: peer.Address, Recordings: "/recordings", Keys: true}})
	c, tab := w.joins(wish)
	if e := c.next(); e[0] != "" || len(e) != 2 || len(e[1]) < 20 {
		t.Fatalf("the tunnel opens with %q", e)
	}
	joined := <-peer.Clients
	for name, want := range map[string]string{
		"username": "kiosk", "password": "hush", "domain": "", "security": "nla", "ignore-cert": "", "cert-tofu": "",
		"cert-fingerprints": fingerprint(w.device.sum), "resize-method": "display-update", "hostname": "127.0.0.1",
		"recording-path": "/recordings", "create-recording-path": "true", "recording-include-keys": "true", "enable-sftp": "",
	} {
		if got := joined.Arguments[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if token := joined.Arguments["load-balance-info"]; !strings.HasPrefix(token, "Cookie: msts=") || len(token) < len("Cookie: msts=")+26 || !strings.HasSuffix(token, "\r\n") {
		t.Errorf("the routing token is %q", token)
	}
	if name := joined.Arguments["recording-name"]; !strings.HasSuffix(name, "_kiosk-1_s-1_ann.guac") {
		t.Errorf("the recording is %q", name)
	}
	if want := map[string][]string{"size": {"1280", "720", "96"}, "audio": {}, "video": {}, "image": {"image/png", "image/jpeg"}, "timezone": {"Asia/Shanghai"}, "name": {"ann"}}; !reflect.DeepEqual(joined.Hello, want) {
		t.Errorf("it said %q", joined.Hello)
	}
	c.says("0.,4.ping,3.123;3.key,2.65,1.1;3.key,2.65,1.0;5.mouse,1.1,1.2,1.0;")
	if e := c.until(""); !slices.Equal(e, []string{"", "ping", "123"}) {
		t.Errorf("a ping is answered %q", e)
	}
	if e := c.until("blob"); e[2] != base64.StdEncoding.EncodeToString([]byte("A")) {
		t.Errorf("the device sent back %q", e)
	}
	if e := c.until("name"); e[1] != "a\ufffdb" {
		t.Errorf("a browser cannot count %q", e)
	}
	c.ws.Close(websocket.StatusNormalClosure, "")
	v := w.settled()
	if !reflect.DeepEqual(v.Ended, map[string]uint64{"closed": 1}) || v.Opened != 1 || !tab.closed() {
		t.Errorf("afterwards: %+v", v)
	}
	for _, op := range joined.Heard() {
		if op == "" {
			t.Error("guacd heard the tunnel's own word")
		}
	}
}

func TestGuacdEnds(t *testing.T) {
	for name, c := range map[string]struct {
		peer   func(*guacdtest.Peer)
		device func(*device)
		target func(*Target)
		cfg    Config
		do     func(*guest, *tab)
		code   websocket.StatusCode
		reason string
	}{
		"the session ends":     {do: func(_ *guest, t *tab) { t.end(client.Refuse(http.StatusConflict, "removed", "")) }, code: 4409, reason: "removed"},
		"the device goes":      {device: func(d *device) { d.mode = endsAfterTLS }, code: websocket.StatusNormalClosure},
		"a word not allowed":   {do: func(c *guest, _ *tab) { c.says("6.select,3.ssh;") }, code: 4400, reason: "malformed"},
		"a cut instruction":    {do: func(c *guest, _ *tab) { c.says("3.key,2.6") }, code: 4400, reason: "malformed"},
		"a long message":       {do: func(c *guest, _ *tab) { c.says("4.blob,1.1,70000." + strings.Repeat("a", 70000) + ";") }, code: websocket.StatusMessageTooBig, reason: "read limited at 65537 bytes"},
		"bytes":                {do: func(c *guest, _ *tab) { c.ws.Write(c.w.ctx(), websocket.MessageBinary, []byte("3.nop;")) }, code: 4400, reason: "malformed"},
		"guacd talks nonsense": {peer: func(p *guacdtest.Peer) { p.Raw = "nonsense" }, code: 4502, reason: "broken"},
		"guacd knows no pin":   {peer: func(p *guacdtest.Peer) { p.Without = "cert-fingerprints" }, code: 4502, reason: "guacd_refused"},
		"another certificate":  {target: func(t *Target) { t.RDP = strings.Repeat("ab", 32) }, code: 4403, reason: "certificate_wrong"},
		"no NLA":               {device: func(d *device) { d.answer = rdcleanpath.SSL }, code: 4403, reason: "nla_required"},
		"nobody at the port":   {target: func(t *Target) { t.Tab.(*tab).to = nil }, code: 4502, reason: "port_closed"},
		"nothing to record to": {cfg: Config{Policy: Policy{Record: true}}, code: 4403, reason: "recording_required"},
	} {
		t.Run(name, func(t *testing.T) {
			peer := guacdtest.Start(t)
			if c.peer != nil {
				c.peer(peer)
			}
			c.cfg.Guacd = &Guacd{Address: peer.Address}
			w := newWorld(t, c.cfg)
			if c.device != nil {
				c.device(w.device)
			}
			if c.target == nil {
				c.target = func(*Target) {}
			}
			g, tab := w.joins(wish, c.target)
			if c.do != nil {
				g.next()
				c.do(g, tab)
			}
			w.ends(g.ws, c.code, c.reason)
			w.settled()
			if !tab.closed() {
				t.Error("the tab is left open")
			}
		})
	}
}

func TestGuacdAway(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	w := newWorld(t, Config{Guacd: &Guacd{Address: ln.Addr().String()}})
	c, _ := w.joins(wish)
	w.ends(c.ws, 4502, "guacd_away")
	if got := w.s.Engines(t.Context()); !slices.Equal(got, []string{EngineIron}) {
		t.Errorf("engines: %v", got)
	}
}

func TestEngines(t *testing.T) {
	peer := guacdtest.Start(t)
	for name, c := range map[string]struct {
		cfg  Config
		want []string
	}{
		"alone":     {Config{}, []string{EngineIron}},
		"guacd":     {Config{Guacd: &Guacd{Address: peer.Address}}, []string{EngineGuacd, EngineIron}},
		"recorded":  {Config{Guacd: &Guacd{Address: peer.Address}, Policy: Policy{Record: true}}, []string{EngineGuacd}},
		"cannot be": {Config{Policy: Policy{Record: true}}, nil},
	} {
		if got := New(&c.cfg).Engines(t.Context()); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestOffers(t *testing.T) {
	w := newWorld(t, Config{Guacd: &Guacd{Address: "127.0.0.1:1"}})
	for name, change := range map[string]func(*Wish){
		"no width":     func(w *Wish) { w.Width = 0 },
		"too wide":     func(w *Wish) { w.Width = 10000 },
		"a long name":  func(w *Wish) { w.Username = strings.Repeat("a", 300) },
		"a long drive": func(w *Wish) { w.Drive = &Drive{Password: strings.Repeat("a", 300)} },
		"a drive":      func(w *Wish) { w.Drive = &Drive{} },
		"a keyboard":   func(w *Wish) { w.Layout = "../x" },
	} {
		bad := wish
		change(&bad)
		if err := w.s.Offer("ann", "code", bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for _, zone := range []string{"Asia/Shanghai", "Etc/GMT+8", "America/Argentina/Buenos_Aires", "UTC", ":/dev/tty", "/etc/passwd", "../../dev/tty", "a//b", "a/..", "+08:00"} {
		other := wish
		other.Timezone = zone
		if err := w.s.Offer("ann", "zone", other); err != nil {
			t.Errorf("%s: %v", zone, err)
		}
		if got, _ := w.s.offers.take("zone"); got.Timezone != "" && (got.Timezone != zone || strings.ContainsAny(zone, ":.") || zone[0] == '/') {
			t.Errorf("%s: guacd is told %q", zone, got.Timezone)
		}
	}
	if err := New(&Config{}).Offer("ann", "code", wish); !errors.Is(err, errNoGuacd) {
		t.Errorf("without guacd: %v", err)
	}
	// A code without an offer is spent all the same.
	code, _ := w.code()
	ws := w.dial("/console/guac?code="+code, "guacamole")
	w.ends(ws, 4400, "malformed")
	if err := w.s.Offer("ann", code, wish); err != nil {
		t.Fatal(err)
	}
	w.ends(w.dial("/console/guac?code="+code, "guacamole"), 4401, "bad_code")
	if len(w.s.offers.of) != 0 {
		t.Error("what was typed is kept")
	}
	code, _ = w.code()
	w.ends(w.dial("/console/guac?code="+code), 4400, "malformed") // no subprotocol
}

// sshServer answers until a client knows its host keys.
func sshServer(t *testing.T) (address string, key ssh.PublicKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &ssh.ServerConfig{NoClientAuth: true}
	cfg.AddHostKey(signer)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			ssh.NewServerConn(c, cfg)
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String(), signer.PublicKey()
}

func TestDrive(t *testing.T) {
	address, key := sshServer(t)
	peer := guacdtest.Start(t)
	w := newWorld(t, Config{Guacd: &Guacd{Address: peer.Address, Drive: true}})
	with := wish
	with.Drive = &Drive{Username: "svc", Password: "hush too"}
	signed := func(sum string) func(*Target) {
		return func(t *Target) { t.SSH, t.Tab.(*tab).ssh = sum, address }
	}
	c, _ := w.joins(with, signed(ssh.FingerprintSHA256(key)))
	c.next()
	a := (<-peer.Clients).Arguments
	line := "[127.0.0.1]:" + a["sftp-port"] + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	if a["enable-sftp"] != "true" || a["sftp-username"] != "svc" || a["sftp-password"] != "hush too" || a["sftp-host-key"] != line || a["sftp-hostname"] != "127.0.0.1" || a["sftp-port"] == a["port"] {
		t.Errorf("guacd is told %q", a)
	}
	other, _ := w.joins(with, signed("SHA256:"+strings.Repeat("a", 43)))
	w.ends(other.ws, 4403, "host_key_wrong")
	unsigned, _ := w.joins(with, signed(""))
	w.ends(unsigned.ws, 4403, "host_key_unsigned")
}

// One user's wishes leave room for those of others, and the latest of them count.
func TestOffersOfOneUser(t *testing.T) {
	s := New(&Config{Guacd: &Guacd{Address: "127.0.0.1:1"}})
	last := ""
	for n := range maxOffers + 1 {
		last = strconv.Itoa(n)
		if err := s.Offer("ann", last, wish); err != nil {
			t.Fatalf("wish %d: %v", n, err)
		}
	}
	if err := s.Offer("bob", "his", wish); err != nil {
		t.Errorf("another user's: %v", err)
	}
	for _, code := range []string{last, "his"} {
		if _, ok := s.offers.take(code); !ok {
			t.Errorf("%s is forgotten", code)
		}
	}
	if _, ok := s.offers.take("0"); ok {
		t.Error("the first is kept")
	}
}
