package console

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/crypto/ssh"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console/internal/consoletest"
	"github.com/boothwire/boothwire/gateway/control/console/internal/guacdtest"
	"github.com/boothwire/boothwire/gateway/control/console/internal/rdcleanpath"
	"github.com/boothwire/boothwire/internal/testca"
	"github.com/boothwire/boothwire/keys"
)

// newDesktopBooth is a booth whose device has an RDP server, which sends everything back
// once TLS is up, and an SSH server that lets nobody in; it has signed both.
func newDesktopBooth(t *testing.T, change func(*Config)) *booth {
	t.Helper()
	t.Parallel() // it mostly waits
	w := consoletest.New(t, nil)
	ca := testca.New(t, t.TempDir())
	cert := ca.Pair(ca.Server("kiosk", []string{"kiosk"}))
	w.RDP = sha256.Sum256(cert.Certificate[0])
	at := w.Serve(func(c net.Conn) {
		if _, err := rdcleanpath.ReadX224(c); err != nil {
			return
		}
		c.Write([]byte{3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, 2, 0, 8, 0, byte(rdcleanpath.Hybrid), 0, 0, 0})
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		io.Copy(s, s)
	})
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	w.SSH = sha256.Sum256(host.PublicKey().Marshal())
	shell := w.Serve(func(c net.Conn) {
		cfg := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, errors.New("no") }}
		cfg.AddHostKey(host)
		ssh.NewServerConn(c, cfg)
	})
	w.Device("kiosk-1", "north", map[keys.Port]string{keys.TCP(22): shell, keys.TCP(3389): at}, nil)
	cfg := &Config{Policy: Policy{Ports: []keys.Port{keys.TCP(22), keys.TCP(3389)}}}
	if change != nil {
		change(cfg)
	}
	return boothOf(t, w, cfg)
}

// code is a connect code for a session that one holds.
func (b *booth) code(t *testing.T, as *http.Client, session, protocol string) string {
	t.Helper()
	status, _, text := b.tell(t, as, "POST", "/console/held/"+session+"/code", `{"protocol":"`+protocol+`"}`)
	var v struct{ Code string }
	if err := json.Unmarshal(text, &v); status != http.StatusCreated || err != nil {
		t.Fatalf("a code: %d %s", status, text)
	}
	return v.Code
}

// iron asks for a desktop with a code, as IronRDP does, and returns the answer.
func (b *booth) iron(t *testing.T, as *http.Client, code string) (*websocket.Conn, *rdcleanpath.PDU) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	ws, _, err := websocket.Dial(ctx, b.url+"/console/desktop", &websocket.DialOptions{HTTPClient: as, HTTPHeader: http.Header{"Origin": {b.url}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	asks := []byte{3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, byte(rdcleanpath.SSL | rdcleanpath.Hybrid), 0, 0, 0}
	pdu, err := (&rdcleanpath.PDU{Destination: "10.0.0.1", ProxyAuth: code, X224: asks}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.Write(ctx, websocket.MessageBinary, pdu); err != nil {
		t.Fatal(err)
	}
	_, answer, err := ws.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got, err := rdcleanpath.Parse(answer)
	if err != nil {
		t.Fatal(err)
	}
	return ws, got
}

// ends waits for a WebSocket's end and compares how.
func ends(t *testing.T, ws *websocket.Conn, code websocket.StatusCode, reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		_, _, err := ws.Read(ctx)
		if err == nil {
			continue
		}
		var e websocket.CloseError
		if !errors.As(err, &e) || e.Code != code || e.Reason != reason {
			t.Errorf("ended with %v, want %d %q", err, code, reason)
		}
		return
	}
}

// From the page's code through the tunnel to the device's RDP server, and every end.
func TestDesktop(t *testing.T) {
	b := newDesktopBooth(t, nil)
	ann := b.as(t, operatorOf("ann", "north"))
	id := b.connect(t, ann, `{"device":"kiosk-1"}`)
	events := b.follow(t, ann, id)
	until(t, events, "ready", ready)
	code := b.code(t, ann, id, "rdp")
	ws, got := b.iron(t, ann, code)
	if got.Error != nil || len(got.Chain) != 1 || sha256.Sum256(got.Chain[0]) != b.world.RDP || !strings.HasSuffix(got.Server, ":3389") {
		t.Fatalf("answered %v", got)
	}
	if err := ws.Write(t.Context(), websocket.MessageBinary, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, text, err := ws.Read(t.Context()); err != nil || string(text) != "hello" {
		t.Fatalf("%q, %v", text, err)
	}
	second, got := b.iron(t, ann, code)
	if got.Error == nil || got.Error.HTTP != http.StatusUnauthorized {
		t.Errorf("a code is good twice: %v", got)
	}
	ends(t, second, 4401, "bad_code")
	if status, _, text := b.tell(t, ann, "POST", "/console/held/"+id+"/leave", `{}`); status != http.StatusNoContent {
		t.Errorf("leave: %d %s", status, text)
	}
	ends(t, ws, 4409, "left")
	if v := b.DesktopStats(); v.Opened != 1 || v.Ended["bad_code"] != 1 {
		t.Errorf("counted %+v", v)
	}
}

// Codes are of one user, one login, one protocol; and a desktop ends with its login.
func TestDesktopAttacks(t *testing.T) {
	b := newDesktopBooth(t, nil)
	ann, bob := b.as(t, operatorOf("ann", "north")), b.as(t, operatorOf("bob", "north"))
	elsewhere := b.as(t, operatorOf("ann", "north"))
	id := b.connect(t, ann, `{"device":"kiosk-1"}`)
	events := b.follow(t, ann, id)
	until(t, events, "ready", ready)
	for name, c := range map[string]struct {
		as   *http.Client
		code string
	}{
		"another user":          {bob, b.code(t, ann, id, "rdp")},
		"another login":         {elsewhere, b.code(t, ann, id, "rdp")},
		"a code for a terminal": {ann, b.code(t, ann, id, "ssh")},
		"a guess":               {ann, strings.Repeat("A", 43)},
	} {
		ws, got := b.iron(t, c.as, c.code)
		if got.Error == nil || got.Error.HTTP != http.StatusUnauthorized || got.Chain != nil {
			t.Errorf("%s: %v", name, got)
		}
		ends(t, ws, 4401, "bad_code")
	}
	for _, path := range []string{"/console/desktop", "/console/guac?code=a"} {
		for name, c := range map[string]struct {
			as     *http.Client
			origin string
			want   int
		}{
			"a foreign page":     {ann, "https://evil.example", http.StatusForbidden},
			"no page at all":     {ann, "", http.StatusForbidden},
			"without a login":    {b.browser(t), b.url, http.StatusUnauthorized},
			"another host's":     {ann, b.url + ".evil.example", http.StatusForbidden},
			"the other protocol": {ann, strings.Replace(b.url, "http:", "https:", 1), http.StatusForbidden},
		} {
			head := http.Header{}
			if c.origin != "" {
				head.Set("Origin", c.origin)
			}
			_, res, err := websocket.Dial(t.Context(), b.url+path, &websocket.DialOptions{HTTPClient: c.as, HTTPHeader: head})
			if err == nil || res == nil || res.StatusCode != c.want {
				t.Errorf("%s, %s: %v", path, name, err)
			}
		}
	}
	ws, got := b.iron(t, ann, b.code(t, ann, id, "rdp"))
	if got.Error != nil {
		t.Fatalf("answered %v", got)
	}
	ask(t, ann, "POST", b.url+"/console/signout", map[string][]string{}, "Origin", b.url)
	ends(t, ws, 4401, "signed_out")
}

func TestDesktopPage(t *testing.T) {
	peer := guacdtest.Start(t)
	b := newDesktopBooth(t, func(c *Config) { c.Desktop = Desktop{Guacd: &Guacd{Address: peer.Address, Recordings: "/recordings"}} })
	ann := b.as(t, operatorOf("ann", "north"))
	id := b.connect(t, ann, `{"device":"kiosk-1"}`)
	until(t, b.follow(t, ann, id), "ready", ready)
	status, head, page := ask(t, ann, "GET", b.url+"/console/sessions/"+id+"/desktop", nil)
	if status != http.StatusOK || head.Get("Content-Security-Policy") != policyEngine || !strings.Contains(page, `data-id="`+id+`"`) {
		t.Errorf("the page is %d, may load %q", status, head.Get("Content-Security-Policy"))
	}
	vic := b.as(t, control.User{Name: "vic", Role: control.Viewer})
	if status, head, _ := ask(t, vic, "GET", b.url+"/console/sessions/"+id+"/desktop", nil); status != http.StatusForbidden || head.Get("Content-Security-Policy") != policyStrict {
		t.Errorf("a viewer gets %d", status)
	}
	status, _, text := b.tell(t, ann, "GET", "/console/held/"+id+"/desktop", "")
	var shown desktopShown
	if err := json.Unmarshal(text, &shown); status != http.StatusOK || err != nil || shown.Device != "kiosk-1" || !slices.Equal(shown.Engines, []string{"guacd", "iron"}) || !shown.Recorded || shown.Drive {
		t.Errorf("of the desktop it says %d %s", status, text)
	}
	for name, body := range map[string]string{"junk": `{"width":"a"}`, "no size": `{"username":"kiosk"}`, "a drive": `{"width":800,"height":600,"drive":{}}`} {
		if status, _, text := b.tell(t, ann, "POST", "/console/held/"+id+"/guac", body); status < 400 || status >= 500 {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	status, _, text = b.tell(t, ann, "POST", "/console/held/"+id+"/guac", `{"username":"kiosk","password":"hush","width":800,"height":600}`)
	var v struct{ Code string }
	if err := json.Unmarshal(text, &v); status != http.StatusCreated || err != nil {
		t.Fatalf("a code for guacd: %d %s", status, text)
	}
	ws, _, err := websocket.Dial(t.Context(), b.url+"/console/guac?code="+v.Code, &websocket.DialOptions{HTTPClient: ann, HTTPHeader: http.Header{"Origin": {b.url}}, Subprotocols: []string{"guacamole"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if _, first, err := ws.Read(t.Context()); err != nil || !strings.HasPrefix(string(first), "0.,") {
		t.Fatalf("the tunnel opens with %q, %v", first, err)
	}
	if c := <-peer.Clients; c.Arguments["username"] != "kiosk" || c.Arguments["password"] != "hush" {
		t.Errorf("guacd is told %q", c.Arguments)
	}
	ws.Write(t.Context(), websocket.MessageText, []byte("3.key,2.65,1.1;"))
	for {
		_, text, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "4.blob,1.1,4.QQ==;") {
			break
		}
	}
	if status, _, text := b.tell(t, ann, "POST", "/console/held/"+id+"/leave", `{}`); status != http.StatusNoContent {
		t.Errorf("leave: %d %s", status, text)
	}
	ends(t, ws, 4409, "left")
}
