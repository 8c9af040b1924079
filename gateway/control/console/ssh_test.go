package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/consoletest"
	"github.com/boothwire/boothwire/gateway/control/console/internal/sshtest"
	"github.com/boothwire/boothwire/keys"
)

// newSSHBooth is a booth whose device has an SSH server, and has signed its host key.
func newSSHBooth(t *testing.T) *booth {
	t.Helper()
	t.Parallel() // it mostly waits
	key := sshtest.Key(t, "ed25519")
	server := sshtest.Serve(t, sshtest.Config{HostKeys: []sshtest.Signer{key}, Shell: sshtest.Echo, SFTP: true})
	w := consoletest.New(t, nil)
	w.SSH = sha256.Sum256(key.PublicKey().Marshal())
	w.Device("kiosk-1", "north", map[keys.Port]string{keys.TCP(22): server.Addr}, nil)
	return boothOf(t, w, &Config{SSH: SSH{hearing: time.Minute}})
}

// shell opens a socket as a page of origin does.
func (b *booth) shell(as *http.Client, session, origin string) (*websocket.Conn, *http.Response, error) {
	head := http.Header{}
	if origin != "" {
		head.Set("Origin", origin)
	}
	return websocket.Dial(context.Background(), b.url+"/console/held/"+session+"/terminal", &websocket.DialOptions{HTTPClient: as, HTTPHeader: head})
}

// hello opens a socket and shows a code.
func (b *booth) hello(t *testing.T, as *http.Client, session, code string) *websocket.Conn {
	t.Helper()
	ws, _, err := b.shell(as, session, b.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	write(t, ws, fmt.Sprintf(`{"code":%q,"cols":80,"rows":24}`, code))
	return ws
}

func write(t *testing.T, ws *websocket.Conn, text string) {
	t.Helper()
	if err := ws.Write(context.Background(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// heard reads until a message has text in it; without it, to the close's reason.
func heard(t *testing.T, ws *websocket.Conn, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		_, data, err := ws.Read(ctx)
		if c, ok := errors.AsType[websocket.CloseError](err); ok && text == "" {
			return c.Reason
		}
		if err != nil {
			t.Fatalf("before %q: %v", text, err)
		}
		if text != "" && bytes.Contains(data, []byte(text)) {
			return string(data)
		}
	}
}

func (b *booth) signedIn(t *testing.T, as *http.Client, session string) *websocket.Conn {
	t.Helper()
	ws := b.hello(t, as, session, b.code(t, as, session, "ssh"))
	heard(t, ws, `"signin"`)
	write(t, ws, `{"signin":{"user":"operator","password":"right"}}`)
	heard(t, ws, `"host_key_by":"signed"`)
	return ws
}

// A shell through the tunnel, files beside it without another sign-in, and the end of
// both with the login.
func TestTerminalAndFiles(t *testing.T) {
	b := newSSHBooth(t)
	ann := b.as(t, operatorOf("ann", "north"))
	id := b.connect(t, ann, `{"device":"kiosk-1","ports":["tcp/22"]}`)
	files := b.url + "/console/held/" + id + "/files"
	if status, _, text := ask(t, ann, "GET", files, nil); status != http.StatusConflict || !strings.Contains(text, "ssh_sign_in") {
		t.Errorf("files before the sign-in: %d %s", status, text)
	}
	ws := b.signedIn(t, ann, id)
	if err := ws.Write(context.Background(), websocket.MessageBinary, []byte("打印机")); err != nil {
		t.Fatal(err)
	}
	heard(t, ws, "打印机")

	dir := t.TempDir()
	data := bytes.Repeat([]byte("photo "), 1<<18)
	sum := sha256.Sum256(data)
	to := url.QueryEscape(filepath.Join(dir, "照片.raw"))
	r, _ := http.NewRequestWithContext(t.Context(), "PUT", fmt.Sprintf("%s/content?path=%s&offset=0&total=%d", files, to, len(data)), bytes.NewReader(data))
	r.Header.Set("Origin", b.url)
	res, err := ann.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusOK || !strings.Contains(string(text), hex.EncodeToString(sum[:])) {
		t.Fatalf("upload: %d %s", res.StatusCode, text)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "照片.raw")); !bytes.Equal(got, data) {
		t.Errorf("the device has %d bytes", len(got))
	}
	if status, _, text := ask(t, ann, "GET", files+"/content?path="+to, nil); status != http.StatusOK || text != string(data) {
		t.Errorf("download: %d, %d bytes", status, len(text))
	}
	if status, _, text := ask(t, ann, "GET", files+"?path="+url.QueryEscape(dir), nil); status != http.StatusOK || !strings.Contains(text, `"name":"照片.raw","kind":"file","size":1572864`) {
		t.Errorf("the folder: %d %s", status, text)
	}

	// Another login of hers has to sign in anew, and so does bob.
	other := b.as(t, operatorOf("ann", "north"))
	if status, _, text := ask(t, other, "GET", files, nil); status != http.StatusConflict || !strings.Contains(text, "ssh_sign_in") {
		t.Errorf("files of another login: %d %s", status, text)
	}
	again := b.hello(t, other, id, b.code(t, other, id, "ssh"))
	heard(t, again, `"signin"`)
	bob := b.as(t, operatorOf("bob"))
	if status, _, text := ask(t, bob, "GET", files, nil); status != http.StatusNotFound || !strings.Contains(text, "not_held") {
		t.Errorf("files of somebody else: %d %s", status, text)
	}

	// A sign-out ends hers at once, and not the other login's.
	if status, _, _ := ask(t, ann, "POST", b.url+"/console/signout", nil, "Origin", b.url); status != http.StatusSeeOther {
		t.Errorf("signed out with %d", status)
	}
	if why := heard(t, ws, ""); why != "signed_out" {
		t.Errorf("the terminal ended for %q", why)
	}
	write(t, again, `{"signin":{"user":"operator","password":"right"}}`)
	heard(t, again, `"ready"`)
	boss := b.as(t, control.User{Name: "boss", Role: control.Approver})
	if status, code, _ := b.tell(t, boss, "DELETE", "/console/api/v1/sessions/"+id+"?all=true", ""); status != http.StatusOK {
		t.Fatalf("closed with %d %s", status, code)
	}
	if why := heard(t, again, ""); why != "closed" {
		t.Errorf("the terminal ended for %q", why)
	}
	b.world.Wait("control's record", func() bool { return b.world.Session(id).State == client.Closed })
}

// A code opens one shell: of its user, its login, its session and its protocol.
func TestTerminalAttacks(t *testing.T) {
	b := newSSHBooth(t)
	ann, bob := b.as(t, operatorOf("ann")), b.as(t, operatorOf("bob"))
	id := b.connect(t, ann, `{"device":"kiosk-1","ports":["tcp/22"]}`)
	if joined := b.connect(t, bob, `{"device":"kiosk-1","ports":["tcp/22"]}`); joined != id {
		t.Fatalf("bob is in %s", joined)
	}
	for name, origin := range map[string]string{"absent": "", "foreign": "https://evil.example", "null": "null", "another scheme": strings.Replace(b.url, "http://", "https://", 1), "a longer host": b.url + ".evil.example"} {
		ws, res, err := b.shell(ann, id, origin)
		if err == nil {
			ws.CloseNow()
		}
		if res == nil || res.StatusCode != http.StatusForbidden {
			t.Errorf("%s origin: %v", name, err)
		}
	}
	if _, res, _ := b.shell(b.browser(t), id, b.url); res == nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger: %v", res)
	}
	used := b.code(t, ann, id, "ssh")
	heard(t, b.hello(t, ann, id, used), `"signin"`)
	status, _, _ := b.tell(t, ann, "POST", "/console/held/"+id+"/code", `{"protocol":"rdp"}`)
	if status != http.StatusForbidden { // the session does not reach it
		t.Errorf("a code for a desktop: %d", status)
	}
	for name, tt := range map[string]struct {
		as      *http.Client
		session string
		code    string
	}{
		"used twice":      {ann, id, used},
		"somebody else's": {bob, id, b.code(t, ann, id, "ssh")},
		"another login's": {b.as(t, operatorOf("ann")), id, b.code(t, ann, id, "ssh")},
		"another session": {ann, "abcdefghijklmnopqrstuvwxyz", b.code(t, ann, id, "ssh")},
		"invented":        {ann, id, strings.Repeat("A", 43)},
	} {
		if why := heard(t, b.hello(t, tt.as, tt.session, tt.code), ""); why != "code_refused" {
			t.Errorf("%s: ended for %q", name, why)
		}
	}
	for _, path := range []string{"/content?path=/etc/passwd&offset=0&total=0", "/upload?path=/x", "/mkdir?path=/x", "/rename?path=/x&to=/y", "?path=/x"} {
		for _, method := range []string{"PUT", "DELETE", "POST"} {
			if status := b.elsewhere(t, ann, method, "/console/held/"+id+"/files"+path, ""); status != http.StatusForbidden {
				t.Errorf("%s %s from another site: %d", method, path, status)
			}
		}
	}
}
