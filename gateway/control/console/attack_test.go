package console

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// What pages of other sites may do: nothing.
func TestCrossOrigin(t *testing.T) {
	d := newDesk(t, nil)
	b := d.as(t, control.User{Name: "ann", Role: control.Admin})
	for _, tt := range []struct {
		method, path string
		head         []string
		want         int
	}{
		{"POST", "/console/awake", []string{"Origin", d.url}, http.StatusNoContent},
		{"POST", "/console/awake", []string{"Sec-Fetch-Site", "same-origin"}, http.StatusNoContent},
		{"POST", "/console/awake", []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		{"POST", "/console/awake", []string{"Origin", "null"}, http.StatusForbidden},
		{"POST", "/console/awake", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{"POST", "/console/awake", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://sub.example"}, http.StatusForbidden},
		{"POST", "/console/signin", []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		{"POST", "/console/signout", []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		{"POST", "/console/api/v1/nodes/n/drain", []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		{"DELETE", "/console/api/v1/devices/k", []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		{"PUT", "/console/api/v1/devices/k", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
	} {
		if status, _, text := ask(t, b, tt.method, d.url+tt.path, nil, tt.head...); status != tt.want {
			t.Errorf("%s %s %v: %d, want %d: %s", tt.method, tt.path, tt.head, status, tt.want, text)
		}
	}
}

// What strangers get: nothing of anybody's.
func TestStrangers(t *testing.T) {
	d := newDesk(t, nil)
	b := d.browser(t)
	for _, tt := range []struct{ method, path string }{
		{"GET", "/console/api/v1/devices"}, {"GET", "/console/api/v1/devices/events"}, {"GET", "/console/api/v1/audit/export"}, {"POST", "/console/api/v1/sessions"},
		{"DELETE", "/console/api/v1/sessions/x"}, {"POST", "/console/connect"}, {"GET", "/console/policy"}, {"POST", "/console/awake"}, {"GET", "/console/held/x/events"},
		{"POST", "/console/held/x/code"}, {"GET", "/console/held/x/files"}, {"GET", "/console/desktop"}, {"GET", "/console/guac"}, {"GET", "/console/held/x/terminal"}, {"GET", "/console/x"},
	} {
		for _, cookie := range []string{"", "boothwire=x", "__Host-boothwire=x"} {
			status, _, text := ask(t, b, tt.method, d.url+tt.path, nil, "Accept", "application/json", "Cookie", cookie, "Authorization", "Bearer bwt_x", "Origin", d.url)
			if status != http.StatusUnauthorized && status != http.StatusForbidden {
				t.Errorf("%s %s with %q: %d %s", tt.method, tt.path, cookie, status, text)
			}
		}
	}
}

// What each role may do through the API, in his device groups and outside of them.
func TestAPIRoles(t *testing.T) {
	d := newDesk(t, nil)
	admin := d.control.Client(control.User{Name: "root", Role: control.Admin})
	for i, group := range []string{"mall-7", "mall-8"} {
		key, err := keys.OpenIdentity(keys.NewMemory(), "device")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := admin.PutDevice(t.Context(), fmt.Sprintf("kiosk-%d", 7+i), &client.DeviceRequest{Key: key.Key(), Group: group}); err != nil {
			t.Fatal(err)
		}
	}
	roles := []control.Role{control.Viewer, control.Operator, control.Approver, control.Admin}
	for _, tt := range []struct {
		method, path, body string
		own, foreign       [4]int // by role: of somebody with all groups; of one with mall-7 alone
	}{
		{"GET", "/devices/kiosk-7", "", [4]int{200, 200, 200, 200}, [4]int{200, 200, 200, 200}},
		{"GET", "/devices/kiosk-8", "", [4]int{200, 200, 200, 200}, [4]int{404, 404, 404, 404}},
		{"GET", "/audit", "", [4]int{403, 403, 200, 200}, [4]int{403, 403, 403, 403}},
		{"GET", "/tokens", "", [4]int{403, 403, 403, 200}, [4]int{403, 403, 403, 403}},
		{"POST", "/nodes", `{"name":"n"}`, [4]int{403, 403, 403, 201}, [4]int{403, 403, 403, 403}},
		{"POST", "/nodes/none/drain", `{"draining":true}`, [4]int{403, 403, 403, 404}, [4]int{403, 403, 403, 403}},
		{"GET", "/revocations", "", [4]int{403, 403, 403, 0}, [4]int{403, 403, 403, 403}},
	} {
		for i, role := range roles {
			for groups, want := range map[string]int{"": tt.own[i], "mall-7": tt.foreign[i]} {
				if want == 0 {
					continue // a stream
				}
				u := control.User{Name: string(role) + groups, Role: role}
				if groups != "" {
					u.Groups = []string{groups}
				}
				status, text := callAPI(t, d, d.as(t, u), tt.method, tt.path, tt.body)
				if status != want {
					t.Errorf("%s %s as %s of %q: %d, want %d: %s", tt.method, tt.path, role, groups, status, want, text)
				}
			}
		}
	}
	viewer := d.as(t, control.User{Name: "v", Role: control.Viewer})
	if status, text := callAPI(t, d, viewer, "GET", "/devices?group=mall-8", ""); status != http.StatusOK || !strings.Contains(text, "kiosk-8") {
		t.Errorf("a list is %d %s", status, text)
	}
	bound := d.as(t, control.User{Name: "b", Role: control.Operator, Groups: []string{"mall-7"}})
	if _, text := callAPI(t, d, bound, "GET", "/devices", ""); !strings.Contains(text, "kiosk-7") || strings.Contains(text, "kiosk-8") {
		t.Errorf("a list for one group is %s", text)
	}
	// A bearer token of somebody else makes nobody more than he is.
	token, err := admin.CreateToken(t.Context(), &client.TokenRequest{User: "root", Role: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	status, _, _ := ask(t, viewer, "GET", d.url+"/console/api/v1/tokens", nil, "Accept", "application/json", "Authorization", "Bearer "+token.Secret)
	if status != http.StatusForbidden {
		t.Errorf("a token beside a login: %d", status)
	}
}

func callAPI(t *testing.T, d *desk, b *http.Client, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, d.url+"/console/api/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Origin", d.url)
	res, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, readAll(t, res)
}

// A stream of the API ends with the login, at once.
func TestStreamEndsWithLogin(t *testing.T) {
	d := newDesk(t, nil)
	l, secret := d.begin(t, control.User{Name: "a", Role: control.Viewer})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", d.url+"/console/api/v1/devices/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: "boothwire", Value: secret})
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1024)
	if n, err := res.Body.Read(buf); err != nil || n == 0 || res.StatusCode != http.StatusOK {
		t.Fatalf("the stream begins with %d %q: %v", res.StatusCode, buf[:n], err)
	}
	d.logins.End(l)
	readAll(t, res)
	if ctx.Err() != nil {
		t.Error("it ended for another reason")
	}
}

// Where a sign-in leads is a page of this console.
func TestNext(t *testing.T) {
	for next, want := range map[string]bool{
		"/console/": true, "/console/devices/a?x=1#y": true, "": false, "/": false, "//evil.example/console/": false, "https://evil.example/console/": false,
		`/console/\evil`: false, `\\evil.example/console/`: false, "/consoles/": false, "console/": false, "javascript:alert(1)": false, "/\tevil": false,
	} {
		if local(next) != want {
			t.Errorf("%q: %v", next, !want)
		}
	}
	d := newDesk(t, nil)
	_, head, _ := ask(t, d.browser(t), "POST", d.url+signInPath, url.Values{"name": {"admin"}, "password": {secretWord}, "next": {"https://evil.example/console/"}})
	if got := head.Get("Location"); got != "/console/" {
		t.Errorf("a sign-in leads to %q", got)
	}
}

// A page of another site leads a browser to as many long sign-ins as it likes: what the
// browser keeps of them leaves room in its headers, or it could ask for nothing for as long
// as it keeps them.
func TestSignInsLockNobodyOut(t *testing.T) {
	p := newProvider(t)
	d := oidcDesk(t, p, nil)
	b := d.browser(t)
	for i := range 100 {
		next := "/console/devices/kiosk-1?x=" + strings.Repeat(string("a&<\u4e00"[i%4]), 2000)
		if i%2 == 0 {
			next = "/console/" + strings.Repeat("\x01&", 1000)
		}
		if status, _, text := ask(t, b, "GET", d.url+startPath+"?"+url.Values{"next": {next}}.Encode(), nil); status != http.StatusSeeOther {
			t.Fatalf("%d %s", status, text)
		}
	}
	at, _ := url.Parse(d.url + "/console/")
	size, n := 0, 0
	for _, c := range b.Jar.Cookies(at) {
		size += len("__Host-") + len(c.Name) + len(c.Value) + len("=; ")
		n++
	}
	if n < 8 || size > 10<<10 {
		t.Errorf("%d cookies of %d bytes", n, size)
	}
	for next, want := range map[string]string{
		"/console/devices/kiosk-1?tab=path":                    "/console/devices/kiosk-1?tab=path",
		"/console/devices/kiosk-1?" + strings.Repeat("a", 500): "/console/devices/kiosk-1",
		"/console/" + strings.Repeat("a", 500):                 "/console/",
	} {
		if got := brief(next); got != want {
			t.Errorf("%.60s: %s", next, got)
		}
	}
}

// Nobody makes the console hold more than little: bodies beyond what a page sends are an
// administrator's alone, and one login has so many requests at a time.
func TestOneUserIsBounded(t *testing.T) {
	d := newDesk(t, nil)
	large := "id,key\n" + strings.Repeat("x", maxAsked)
	for _, tt := range []struct {
		user control.User
		want int
	}{
		{control.User{Name: "v", Role: control.Viewer}, http.StatusRequestEntityTooLarge},
		{control.User{Name: "b", Role: control.Admin, Groups: []string{"mall-7"}}, http.StatusRequestEntityTooLarge},
		{control.User{Name: "root", Role: control.Admin}, http.StatusUnprocessableEntity},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", d.url+"/console/api/v1/devices:import", strings.NewReader(large))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "text/csv")
		res, err := d.as(t, tt.user).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if text := readAll(t, res); res.StatusCode != tt.want {
			t.Errorf("a large list of %+v: %d, want %d: %s", tt.user, res.StatusCode, tt.want, text)
		}
	}
	l, secret := d.begin(t, control.User{Name: "a", Role: control.Viewer})
	for n := range 1000 {
		if !l.Enter() {
			if n < 100 {
				t.Errorf("a browser has %d requests at a time", n)
			}
			break
		}
	}
	ask := func() int {
		r := httptest.NewRequest("GET", "http://127.0.0.1/console/policy", nil)
		r.RemoteAddr = "127.0.0.1:1"
		r.AddCookie(&http.Cookie{Name: "boothwire", Value: secret})
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		return w.Code
	}
	if status := ask(); status != http.StatusTooManyRequests {
		t.Errorf("one more: %d", status)
	}
	l.Leave()
	for range 3 {
		if status := ask(); status != http.StatusOK {
			t.Errorf("when one is over: %d", status)
		}
	}
}

// A stranger who asks for an engine has no copy of it made for him, which he could keep
// by reading slowly.
func TestEnginesAreShared(t *testing.T) {
	const engine = "iron/iron.wasm"
	if !hasEngine(engine) {
		t.Skip("without the engines, which make assets fetches")
	}
	d := newDesk(t, nil)
	get := func() int {
		r := httptest.NewRequest("GET", "http://127.0.0.1/console/engines/"+engine, nil)
		r.RemoteAddr = "127.0.0.1:1"
		w := &counter{head: make(http.Header)}
		d.ServeHTTP(w, r)
		return w.n
	}
	size := get()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const times = 10
	for range times {
		get()
	}
	runtime.ReadMemStats(&after)
	if each := int(after.TotalAlloc-before.TotalAlloc) / times; size < 1<<20 || each > size/4 {
		t.Errorf("%d bytes are made for each who asks for %d", each, size)
	}
}

// counter takes an answer and keeps nothing.
type counter struct {
	head http.Header
	n    int
}

func (c *counter) Header() http.Header { return c.head }

func (c *counter) WriteHeader(int) {}

func (c *counter) Write(b []byte) (int, error) {
	c.n += len(b)
	return len(b), nil
}
