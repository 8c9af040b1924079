package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel/operator"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const token = "bwt_secret"

// A call is boothctl, run in this process against a control that a test plays.
type call struct {
	code     int
	out, err string
}

// ctl runs boothctl; serve answers as control would, and sees that the token came.
func ctl(t *testing.T, serve http.HandlerFunc, args ...string) call {
	t.Helper()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("%s %s came with the sign-in %q", r.Method, r.URL, r.Header.Get("Authorization"))
		}
		serve(w, r)
	}))
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BOOTHWIRE_URL", srv.URL)
	t.Setenv("BOOTHWIRE_CA", ca)
	t.Setenv("BOOTHWIRE_TOKEN", token)
	return bare(t.Context(), args...)
}

// bare runs boothctl as the environment is.
func bare(ctx context.Context, args ...string) call {
	var out, errOut bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &errOut}
	code := a.run(ctx, args)
	return call{code, out.String(), errOut.String()}
}

func answer(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
}

func refuse(status int, code, detail string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(client.Error{Status: status, Code: code, Detail: detail})
	}
}

func page(items ...any) map[string]any { return map[string]any{"items": items} }

// evil is what a hostile device could call itself: it clears the screen, sets the
// window's title and turns the text around.
const evil = "1.0\x1b[2J\x1b]0;owned\a\u202e\u0085\u009b2J\nroot"

func TestTablesAreCleanAndJSONIsWhole(t *testing.T) {
	devices := answer(page(client.Device{ID: "kiosk-1", Online: "online", Foreign: evil}, client.Device{ID: "kiosk-2", Online: "unknown"}))
	got := ctl(t, devices, "devices")
	if got.code != 0 || strings.ContainsAny(got.out, "\x1b\a\u202e\u0085\u009b") || strings.Count(got.out, "\n") != 3 {
		t.Errorf("got %+v", got)
	}
	for _, want := range []string{"DEVICE ", "kiosk-1 ", "another key speaks for it: 1.0?[2J", "kiosk-2 ", "not registered", " never "} {
		if !strings.Contains(got.out, want) {
			t.Errorf("no %q in\n%s", want, got.out)
		}
	}
	var all []client.Device
	got = ctl(t, devices, "devices", "--json")
	if err := json.Unmarshal([]byte(got.out), &all); err != nil || len(all) != 2 || all[0].Foreign != evil || strings.ContainsAny(got.out, "\x1b\a\u202e\u0085\u009b") {
		t.Errorf("%v: %+v", err, got)
	}
	if got = ctl(t, answer(page()), "devices", "--json"); got.out != "[]\n" {
		t.Errorf("an empty list is %q", got.out)
	}
	if got = ctl(t, answer(page()), "devices"); got.err != "none\n" || got.code != 0 {
		t.Errorf("an empty table: %+v", got)
	}
	checks := []client.Check{{Check: evil, State: evil, Code: evil, Detail: evil}, {Check: "rdp", State: "fail", Code: "refused", Detail: "127.0.0.1:3389"}}
	got = ctl(t, answer(client.Device{ID: "kiosk-1", Version: evil, Preflight: checks}), "devices", "show", "kiosk-1")
	if strings.ContainsAny(got.out, "\x1b\a\u202e\u0085\u009b") || strings.Contains(got.out, "0001-01-01") || !strings.Contains(got.out, "seen ") ||
		!strings.Contains(got.out, "Nothing listens there. (127.0.0.1:3389)") {
		t.Errorf("got %+v", got)
	}
}

func TestRefusals(t *testing.T) {
	busy := refuse(409, "busy", "another session\x1b[2J")
	got := ctl(t, busy, "connect", "kiosk-1")
	if got.code != exitFailed || got.out != "" || strings.ContainsRune(got.err, 0x1b) ||
		!strings.Contains(got.err, "boothctl: control: busy: another session?") || !strings.Contains(got.err, hints["busy"]) {
		t.Errorf("got %+v", got)
	}
	got = ctl(t, busy, "connect", "kiosk-1", "--json")
	var f failure
	if err := json.Unmarshal([]byte(got.err), &f); err != nil || f.Code != "busy" || f.Hint == "" || got.code != exitFailed {
		t.Errorf("%v: %+v", err, got)
	}
	got = ctl(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(422)
		json.NewEncoder(w).Encode(client.Error{Code: "bad_import", Lines: []client.BadLine{{Line: 7, Code: "bad_line", Text: "no key\x1b"}}})
	}, "devices", "import", "cli_test.go")
	if got.code != exitFailed || !strings.Contains(got.err, "\n  line 7: bad_line: no key?\n") {
		t.Errorf("got %+v", got)
	}
}

func TestWrongCalls(t *testing.T) {
	never := func(_ http.ResponseWriter, r *http.Request) { t.Errorf("control was asked: %s %s", r.Method, r.URL) }
	for _, args := range [][]string{
		{"nonsense"}, {"devices", "nonsense"}, {"connect"}, {"connect", "a", "b"}, {"devices", "--nonsense"},
		{"connect", "kiosk 1"}, {"connect", "--", "-x/../y"}, {"connect", "kiosk-1", "--port", "0"}, {"connect", "kiosk-1", "--port", "icmp/1"},
		{"connect", "kiosk-1", "--for", "-3s"}, {"connect", "kiosk-1", "--for", "soon"},
		{"proxy", "kiosk-1", "udp/53"}, {"proxy", "kiosk-1"}, {"forward", "kiosk-1", "3389"}, {"forward", "kiosk-1", "1:udp/3389"},
		{"forward", "kiosk-1", ":22"}, {"forward", "kiosk-1", "1:2:3:4"}, {"devices", "add", "kiosk-1", "key"}, {"extend", "kiosk-1", "soon"},
		{"ssh", "kiosk/1"}, {"ssh"},
	} {
		if got := ctl(t, never, args...); got.code != exitUsage || got.out != "" || !strings.HasPrefix(got.err, "boothctl: ") {
			t.Errorf("%q: %+v", args, got)
		}
	}
	if got := ctl(t, never); got.code != exitDone || !strings.Contains(got.out, "Usage:") {
		t.Errorf("alone: %+v", got)
	}
	if got := ctl(t, never, "--version"); got.code != exitDone || !strings.Contains(got.out, "boothctl") {
		t.Errorf("version: %+v", got)
	}
}

func TestNoControl(t *testing.T) {
	for _, tt := range []struct{ url, token, ca, want string }{
		{"", token, "", "BOOTHWIRE_URL"},
		{"http://control.example.com", token, "", "https://"},
		{"https://control.example.com", "", "", "BOOTHWIRE_TOKEN"},
	} {
		t.Setenv("BOOTHWIRE_URL", tt.url)
		t.Setenv("BOOTHWIRE_TOKEN", tt.token)
		t.Setenv("BOOTHWIRE_CA", tt.ca)
		for _, args := range [][]string{{"devices"}, {"ssh", "kiosk-1"}} {
			if got := bare(t.Context(), args...); got.code != exitUsage || !strings.Contains(got.err, tt.want) {
				t.Errorf("%+v %q: got %+v", tt, args, got)
			}
		}
	}
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	srv.Config.ErrorLog = nil
	t.Setenv("BOOTHWIRE_URL", srv.URL)
	t.Setenv("BOOTHWIRE_TOKEN", token)
	if got := bare(t.Context(), "devices"); got.code != exitFailed || !strings.Contains(got.err, "--ca FILE") {
		t.Errorf("an unknown authority: %+v", got)
	}
	t.Setenv("BOOTHWIRE_CA", "cli_test.go")
	if got := bare(t.Context(), "devices"); got.code != exitFailed || !strings.Contains(got.err, "no PEM certificate") {
		t.Errorf("no authorities: %+v", got)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	srv := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then the server sees the client go
		cancel()
		<-r.Context().Done()
	}))
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600)
	got := bare(ctx, "--url", srv.URL, "--token", token, "--ca", ca, "connect", "kiosk-1")
	if got.code != exitInterrupted || got.err != "boothctl: interrupted\n" {
		t.Errorf("got %+v", got)
	}
}

// What is asked of control, and where the answer goes.
func TestVerbs(t *testing.T) {
	id, err := keys.OpenIdentity(keys.NewMemory(), "device")
	if err != nil {
		t.Fatal(err)
	}
	key := id.Key()
	for _, tt := range []struct {
		args, want string
		answer     any
		out        string
	}{
		{"devices add kiosk-1 " + key.String() + " --group mall", "PUT /api/v1/devices/kiosk-1", client.Device{ID: "kiosk-1", Key: key, Group: "mall"}, "mall"},
		{"devices remove kiosk-1", "DELETE /api/v1/devices/kiosk-1", nil, ""},
		{"devices --group mall --match 42", "GET /api/v1/devices?group=mall&text=42", page(), "DEVICE"},
		{"nodes", "GET /api/v1/nodes", page(client.Node{Name: "wg-1", State: "connected", Draining: true}), "connected,draining"},
		{"nodes add wg-1", "POST /api/v1/nodes", client.Claim{Node: "wg-1", Claim: "bwn1.x."}, "bwn1.x.\n"},
		{"nodes drain wg-1", "POST /api/v1/nodes/wg-1/drain", client.Node{Name: "wg-1", Draining: true}, "draining"},
		{"nodes undrain wg-1", "POST /api/v1/nodes/wg-1/drain", client.Node{Name: "wg-1", State: "connected"}, "connected\n"},
		{"nodes remove wg-1", "DELETE /api/v1/nodes/wg-1", nil, ""},
		{"sessions --device kiosk-1", "GET /api/v1/sessions?device=kiosk-1&open=true", page(client.Session{ID: "s1", Rx: 1 << 20}), "1.0 MiB"},
		{"sessions --all", "GET /api/v1/sessions", page(), "SESSION"},
		{"audit --session s1", "GET /api/v1/audit?session=s1", page(client.Audit{What: "open"}), "open"},
		{"trust", "GET /api/v1/trust", client.Trust{Issuer: "boothwire", Roots: []string{"R1", "R2"}}, "R1 R2"},
		{"tokens", "GET /api/v1/tokens", page(client.Token{ID: "t1", User: "ann"}), "ann"},
		{"tokens add ann operator --for 1h", "POST /api/v1/tokens", client.Token{Secret: "bwt_new"}, "bwt_new\n"},
		{"tokens remove t1", "DELETE /api/v1/tokens/t1", nil, ""},
	} {
		var asked []string
		serve := func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Method+" "+r.URL.String())
			if tt.answer == nil {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			answer(tt.answer)(w, r)
		}
		got := ctl(t, serve, strings.Fields(tt.args)...)
		if got.code != 0 || !slices.Equal(asked, []string{tt.want}) || !strings.Contains(got.out, tt.out) || tt.out == "" && got.out != "" {
			t.Errorf("%s: asked %q; %+v", tt.args, asked, got)
		}
		if tt.answer == nil {
			continue
		}
		got = ctl(t, serve, append(strings.Fields(tt.args), "--json")...)
		if !json.Valid([]byte(got.out)) {
			t.Errorf("%s --json printed %q", tt.args, got.out)
		}
	}
}

func TestCloseByDevice(t *testing.T) {
	for args, want := range map[string]string{"close kiosk-1": "DELETE /api/v1/sessions/s1", "close --all kiosk-1": "DELETE /api/v1/sessions/s1?all=true"} {
		var asked []string
		got := ctl(t, func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Method+" "+r.URL.RequestURI())
			s := client.Session{ID: "s1", Device: "kiosk-1", State: client.Closing, Rx: 2048}
			switch {
			case r.URL.Path == "/api/v1/sessions/kiosk-1":
				refuse(404, "not_found", "no such session")(w, r)
			case r.URL.Path == "/api/v1/sessions":
				answer(page(s))(w, r)
			case r.Method == http.MethodDelete:
				answer(s)(w, r)
			default:
				w.Header().Set("Content-Type", "text/event-stream")
				for _, state := range []client.SessionState{client.Closing, client.Closed} {
					s.State = state
					text, _ := json.Marshal(s)
					fmt.Fprintf(w, "data: %s\n\n", text)
				}
			}
		}, strings.Fields(args)...)
		if got.code != 0 || !strings.Contains(got.out, "closed") || !strings.Contains(got.out, "2.0 KiB") || !slices.Contains(asked, want) {
			t.Errorf("%+v, asked %q", got, asked)
		}
	}
}

// Every command of every depth has a Short, takes --json, and says its arguments.
func TestCommandsAreDescribed(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || c.Args == nil || c.RunE == nil {
			t.Errorf("%s: short %q, arguments checked: %t, runs: %t", c.CommandPath(), c.Short, c.Args != nil, c.RunE != nil)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&app{out: io.Discard, err: io.Discard}).root())
}

func TestCompletion(t *testing.T) {
	devices := answer(page(client.Device{ID: "kiosk-1"}, client.Device{ID: "kiosk-2"}))
	for _, verb := range []string{"connect", "ssh", "proxy", "forward", "up", "close", "extend"} {
		got := ctl(t, devices, "__complete", verb, "")
		if got.code != 0 || !strings.HasPrefix(got.out, "kiosk-1\nkiosk-2\n") {
			t.Errorf("%s: %+v", verb, got)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := bare(t.Context(), "completion", shell); got.code != 0 || !strings.Contains(got.out, "boothctl") {
			t.Errorf("%s: %+v", shell, got)
		}
	}
}

func TestHintsOfASession(t *testing.T) {
	f := understand(fmt.Errorf("it: %w", &operator.Error{Code: "refused_by_host", Err: errors.New("a customer is here")}))
	if f.Code != "refused_by_host" || f.Hint == "" || !strings.Contains(f.String(), "a customer is here\n  "+f.Hint) {
		t.Errorf("got %+v", f)
	}
}
