package console

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/consoletest"
	"github.com/boothwire/boothwire/gateway/control/console/internal/held"
	"github.com/boothwire/boothwire/keys"
)

// A booth is a desk beside a control, a node and the device kiosk-1 of the group north,
// whose services send everything back.
type booth struct {
	*desk
	world *consoletest.World
}

func newBooth(t *testing.T, c *control.Config, change func(*Config)) *booth {
	t.Helper()
	t.Parallel() // it mostly waits
	w := consoletest.New(t, c)
	at := w.Serve(func(c net.Conn) { io.Copy(c, c) })
	w.Device("kiosk-1", "north", map[keys.Port]string{keys.TCP(22): at, keys.TCP(445): at, keys.TCP(3389): at}, nil)
	cfg := &Config{}
	if change != nil {
		change(cfg)
	}
	return boothOf(t, w, cfg)
}

// boothOf is the console of a world, with a local administrator.
func boothOf(t *testing.T, w *consoletest.World, cfg *Config) *booth {
	t.Helper()
	cfg.Local = &Local{Name: "admin", Hash: hashWord}
	s, err := New(w, cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	t.Cleanup(func() { s.Close() }) // first: streams end with their logins
	return &booth{&desk{Console: s, url: srv.URL, served: srv}, w}
}

// elsewhere is what a page of another site is answered that has a browser ask here.
func (b *booth) elsewhere(t *testing.T, as *http.Client, method, path, body string) int {
	t.Helper()
	r, _ := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	r.Header.Set("Origin", "https://evil.example")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := as.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// tell sends JSON as a page does, and returns the status and the code or whole answer.
func (b *booth) tell(t *testing.T, as *http.Client, method, path, body string) (status int, code string, text []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", b.url)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := as.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err = io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var p client.Error
	_ = json.Unmarshal(text, &p)
	return res.StatusCode, p.Code, text
}

// connect opens a session with kiosk-1.
func (b *booth) connect(t *testing.T, as *http.Client, body string) string {
	t.Helper()
	status, _, text := b.tell(t, as, "POST", "/console/connect", body)
	var v struct{ Session string }
	if err := json.Unmarshal(text, &v); status != http.StatusCreated || err != nil || v.Session == "" {
		t.Fatalf("connect answered %d %s", status, text)
	}
	return v.Session
}

// follow returns the events of a session that one holds, until the test or the stream
// ends.
func (b *booth) follow(t *testing.T, as *http.Client, session string) <-chan held.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/console/held/"+session+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	res, err := as.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("the stream answered %d", res.StatusCode)
	}
	events := make(chan held.Status, 1000)
	go func() {
		defer close(events)
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var v held.Status
				if json.Unmarshal([]byte(data), &v) == nil {
					events <- v
				}
			}
		}
	}()
	return events
}

// until returns the first event that f picks.
func until(t *testing.T, events <-chan held.Status, what string, f func(held.Status) bool) held.Status {
	t.Helper()
	var last held.Status
	for v := range events {
		if last = v; f(v) {
			return v
		}
	}
	t.Fatalf("the stream ended before %s: %+v", what, last)
	return last
}

func ready(v held.Status) bool { return v.Ready }
func over(v held.Status) bool  { return v.Over != nil }

func operatorOf(name string, groups ...string) control.User {
	return control.User{Name: name, Role: control.Operator, Groups: groups}
}

// From the click to the end, as a page does it.
func TestConnect(t *testing.T) {
	b := newBooth(t, &control.Config{RequireReason: true}, func(c *Config) { c.Policy = Policy{RequireReason: true, Lifetime: time.Hour} })
	ann := b.as(t, operatorOf("ann", "north"))
	status, _, text := b.tell(t, ann, "GET", "/console/policy", "")
	want := `{"require_reason":true,"require_ticket":false,"kinds":["node","end_to_end"],"lifetime_s":3600,"longest_s":28800,"ports":["tcp/22","tcp/445","tcp/3389"],"grace_s":60}`
	if got := strings.TrimSpace(string(text)); status != http.StatusOK || got != want {
		t.Errorf("the policy is %d %s", status, got)
	}
	if status, code, _ := b.tell(t, ann, "POST", "/console/connect", `{"device":"kiosk-1"}`); status != http.StatusUnprocessableEntity || code != "reason_required" {
		t.Errorf("without a reason: %d %s", status, code)
	}
	id := b.connect(t, ann, `{"device":"kiosk-1","reason":"cannot print","ticket":"4711","lifetime_s":600}`)
	if again := b.connect(t, ann, `{"device":"kiosk-1","reason":"again"}`); again != id {
		t.Errorf("a second click opened %s beside %s", again, id)
	}
	events := b.follow(t, ann, id)
	v := until(t, events, "ready", ready)
	if v.Session.Ticket != "4711" || v.Tabs != 1 || len(v.Session.Ladder) < 5 || v.Self == "" {
		t.Errorf("ready as %+v", v)
	}
	if status, code, _ := b.tell(t, ann, "POST", "/console/held/"+id+"/extend", `{"lifetime_s":7200}`); status != http.StatusNoContent {
		t.Errorf("extend: %d %s", status, code)
	}
	until(t, events, "the longer time", func(v held.Status) bool { return time.Until(v.Session.Ends) > time.Hour })
	if status, code, _ := b.tell(t, ann, "POST", "/console/held/"+id+"/extend", `{"lifetime_s":720000}`); status != http.StatusUnprocessableEntity || code != "too_long" {
		t.Errorf("extend for days: %d %s", status, code)
	}
	status, _, text = b.tell(t, ann, "POST", "/console/held/"+id+"/code", `{"protocol":"ssh"}`)
	var code struct {
		Code    string
		Expires int `json:"expires_s"`
	}
	if err := json.Unmarshal(text, &code); status != http.StatusCreated || err != nil || len(code.Code) != 43 || code.Expires != 30 {
		t.Errorf("a code: %d %s", status, text)
	}
	status, head, file := ask(t, ann, "GET", b.url+"/console/held/"+id+"/rdp", nil)
	if status != http.StatusOK || head.Get("Content-Disposition") != "attachment; filename=kiosk-1.rdp" || !strings.HasPrefix(file, "full address:s:127.0.0.1:13389\r\n") || strings.Contains(strings.ReplaceAll(file, "\r\n", ""), "\n") {
		t.Errorf("the file is %d %v %q", status, head, file)
	}
	if _, _, file := ask(t, ann, "GET", b.url+"/console/held/"+id+"/rdp?to=tunnel", nil); !strings.HasPrefix(file, "full address:s:"+v.Session.Address.String()+":3389\r\n") {
		t.Errorf("by the tunnel: %q", file)
	}
	if status, _, text := b.tell(t, ann, "POST", "/console/held/"+id+"/leave", `{}`); status != http.StatusNoContent {
		t.Errorf("leave: %d %s", status, text)
	}
	if v := until(t, events, "the end", over); v.Over.Code != "left" {
		t.Errorf("over as %+v", v.Over)
	}
	// Whoever comes later is told how it was, and that it is over.
	if v := until(t, b.follow(t, ann, id), "the end", over); v.Over.Code != "left" {
		t.Errorf("later it was over as %+v", v.Over)
	}
	for _, path := range []string{"extend", "code"} {
		if status, code, _ := b.tell(t, ann, "POST", "/console/held/"+id+"/"+path, `{"lifetime_s":60,"protocol":"ssh"}`); path == "extend" && status != http.StatusUnprocessableEntity && status != http.StatusConflict || path == "code" && status < 400 {
			t.Errorf("%s after the end: %d %s", path, status, code)
		}
	}
	b.world.Wait("control's record", func() bool { return b.world.Session(id).State == client.Closed })
}

// Who may not, cannot: each by the API's own answer.
func TestConnectIsRefused(t *testing.T) {
	b := newBooth(t, nil, nil)
	ann := b.as(t, operatorOf("ann"))
	id := b.connect(t, ann, `{"device":"kiosk-1"}`)
	until(t, b.follow(t, ann, id), "ready", ready)
	eve := b.as(t, control.User{Name: "eve", Role: control.Viewer})
	south := b.as(t, operatorOf("sue", "south"))
	bob := b.as(t, operatorOf("bob"))
	connect := `{"device":"kiosk-1"}`
	for _, tt := range []struct {
		name         string
		as           *http.Client
		method, path string
		body         string
		status       int
		code         string
	}{
		{"a stranger connects", b.browser(t), "POST", "/console/connect", connect, http.StatusUnauthorized, "unauthenticated"},
		{"a stranger lists", b.browser(t), "GET", "/console/held", "", http.StatusUnauthorized, "unauthenticated"},
		{"a stranger looks", b.browser(t), "GET", "/console/held/" + id, "", http.StatusUnauthorized, "unauthenticated"},
		{"a viewer connects", eve, "POST", "/console/connect", connect, http.StatusForbidden, "forbidden"},
		{"a viewer looks at what another holds", eve, "GET", "/console/held/" + id, "", http.StatusNotFound, "not_held"},
		{"a viewer closes", eve, "DELETE", "/console/api/v1/sessions/" + id, "", http.StatusForbidden, "forbidden"},
		{"another group connects", south, "POST", "/console/connect", connect, http.StatusNotFound, "not_found"},
		{"another group reads the session", south, "GET", "/console/api/v1/sessions/" + id, "", http.StatusNotFound, "not_found"},
		{"another group follows the session", south, "GET", "/console/api/v1/sessions/" + id + "/events", "", http.StatusNotFound, "not_found"},
		{"another group looks", south, "GET", "/console/held/" + id + "/events", "", http.StatusNotFound, "not_held"},
		{"another operator looks", bob, "GET", "/console/held/" + id, "", http.StatusNotFound, "not_held"},
		{"another operator wants a code", bob, "POST", "/console/held/" + id + "/code", `{"protocol":"rdp"}`, http.StatusNotFound, "not_held"},
		{"another operator leaves for her", bob, "POST", "/console/held/" + id + "/leave", `{}`, http.StatusNotFound, "not_held"},
		{"another operator kicks her", bob, "DELETE", "/console/api/v1/sessions/" + id, "", http.StatusForbidden, "forbidden"},
		{"no such device", ann, "POST", "/console/connect", `{"device":"kiosk-2"}`, http.StatusNotFound, "not_found"},
		{"a device that cannot be", ann, "POST", "/console/connect", `{"device":"../kiosk-1"}`, http.StatusNotFound, "not_found"},
		{"a port that cannot be", ann, "POST", "/console/connect", `{"device":"kiosk-1","ports":["tcp/0"]}`, http.StatusUnprocessableEntity, "malformed"},
		{"a field twice", ann, "POST", "/console/connect", `{"device":"kiosk-1","Device":"kiosk-2"}`, http.StatusUnprocessableEntity, "malformed"},
		{"no JSON", ann, "POST", "/console/connect", `device=kiosk-1`, http.StatusUnprocessableEntity, "malformed"},
		{"too much", ann, "POST", "/console/connect", `{"reason":"` + strings.Repeat("x", maxAsked) + `"}`, http.StatusRequestEntityTooLarge, "oversized"},
		{"a code for nothing", ann, "POST", "/console/held/" + id + "/code", `{"protocol":"vnc"}`, http.StatusUnprocessableEntity, "malformed"},
		{"other ports than it has", ann, "POST", "/console/connect", `{"device":"kiosk-1","ports":["tcp/5900"]}`, http.StatusConflict, "already_open"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, code, text := b.tell(t, tt.as, tt.method, tt.path, tt.body)
			if status != tt.status || code != tt.code {
				t.Errorf("%d %s, want %d %s: %.200s", status, code, tt.status, tt.code, text)
			}
		})
	}
	for who, want := range map[*http.Client]string{ann: `{"sessions":["` + id + `"]}`, bob: `{"sessions":[]}`} {
		if _, _, text := b.tell(t, who, "GET", "/console/held", ""); strings.TrimSpace(string(text)) != want {
			t.Errorf("held are %s, want %s", text, want)
		}
	}
	// A page of another site has her cookie and still gets nothing.
	for _, path := range []string{"/console/connect", "/console/held/" + id + "/leave", "/console/held/" + id + "/code"} {
		if status := b.elsewhere(t, ann, "POST", path, connect); status != http.StatusForbidden {
			t.Errorf("%s from another site: %d", path, status)
		}
	}
	if v := b.world.Session(id); v.State != client.Connected || len(v.Operators) != 1 {
		t.Errorf("the session is %+v", v)
	}
}

// An approver removes one of two: his page is told, the other's goes on.
func TestKickIsTold(t *testing.T) {
	b := newBooth(t, nil, nil)
	ann, bob := b.as(t, operatorOf("ann")), b.as(t, operatorOf("bob"))
	boss := b.as(t, control.User{Name: "boss", Role: control.Approver})
	id := b.connect(t, ann, `{"device":"kiosk-1"}`)
	if joined := b.connect(t, bob, `{"device":"kiosk-1"}`); joined != id {
		t.Fatalf("bob is in %s", joined)
	}
	hers, his := b.follow(t, ann, id), b.follow(t, bob, id)
	until(t, hers, "ready", ready)
	until(t, hers, "two in it", func(v held.Status) bool { return len(v.Session.Operators) == 2 })
	self := until(t, his, "ready", ready).Self
	if status, code, _ := b.tell(t, boss, "DELETE", "/console/api/v1/sessions/"+id+"?operator="+self, ""); status != http.StatusOK {
		t.Fatalf("the approver: %d %s", status, code)
	}
	if v := until(t, his, "the end", over); v.Over.Code != "removed" {
		t.Errorf("his is over as %+v", v.Over)
	}
	if v := until(t, hers, "one in it", func(v held.Status) bool { return len(v.Session.Operators) == 1 }); v.Over != nil || v.Session.Operators[0].User != "ann" {
		t.Errorf("hers is %+v", v)
	}
}

// The last tab's end leaves the session after the grace; a sign-out at once.
func TestLastTab(t *testing.T) {
	b := newBooth(t, nil, func(c *Config) { c.Policy.Grace = 100 * time.Millisecond })
	ann := b.as(t, operatorOf("ann"))
	id := b.connect(t, ann, `{"device":"kiosk-1"}`)
	ctx, shut := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/console/held/"+id+"/events", nil)
	res, err := ann.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b.world.Wait("connected", func() bool { return b.world.Session(id).State == client.Connected })
	time.Sleep(300 * time.Millisecond)
	if s := b.world.Session(id).State; s != client.Connected {
		t.Errorf("with a tab it is %s", s)
	}
	shut()
	res.Body.Close()
	b.world.Wait("left after the grace", func() bool { return b.world.Session(id).State == client.Closed })
	var v held.Status
	b.world.Wait("this end's word", func() bool { // a moment after control's
		_, _, text := b.tell(t, ann, "GET", "/console/held/"+id, "")
		return json.Unmarshal(text, &v) == nil && v.Over != nil
	})
	if v.Over.Code != "unwatched" {
		t.Errorf("it is over as %+v", v.Over)
	}
}

func TestSignOutLeaves(t *testing.T) {
	b := newBooth(t, nil, nil)
	ann := b.as(t, operatorOf("ann"))
	id := b.connect(t, ann, `{"device":"kiosk-1"}`)
	events := b.follow(t, ann, id)
	until(t, events, "ready", ready)
	if status, _, _ := ask(t, ann, "POST", b.url+"/console/signout", nil, "Origin", b.url); status != http.StatusSeeOther {
		t.Errorf("signed out with %d", status)
	}
	for range events { // ends
	}
	b.world.Wait("left", func() bool { return b.world.Session(id).State == client.Closed })
}
