package control

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// served is control behind plain HTTP.
func (w *world) served() string {
	s := httptest.NewServer(w.c)
	w.t.Cleanup(s.Close)
	return s.URL
}

func (w *world) token(u User) string {
	w.t.Helper()
	s, err := w.c.NewToken(w.t.Context(), u, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func TestRolesOverHTTP(t *testing.T) {
	clock := newStopped()
	w := newWorld(t, &Config{Now: clock.now})
	url := w.served()
	key := w.device("kiosk-1", keys.NewMemory()).Key()
	body := func(v any) string { b, _ := json.Marshal(v); return string(b) }
	device := body(client.DeviceRequest{Key: key})
	open := body(client.OpenRequest{Device: "kiosk-1", Key: keys.NewPrivateKey().Public()})
	if _, err := w.admin.PutDevice(t.Context(), "kiosk-1", &client.DeviceRequest{Key: key}); err != nil {
		t.Fatal(err)
	}
	tokens := map[Role]string{}
	for _, r := range []Role{Viewer, Operator, Approver, Admin} {
		tokens[r] = w.token(User{Name: string(r), Role: r})
	}
	expiring, err := w.c.NewToken(t.Context(), User{Name: "x", Role: Admin}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	// What each role gets, from the lowest on.
	for _, tc := range []struct {
		method, path, body string
		want               [4]int
	}{
		{"GET", "/devices", "", [4]int{200, 200, 200, 200}},
		{"GET", "/devices/kiosk-1", "", [4]int{200, 200, 200, 200}},
		{"GET", "/devices/nobody", "", [4]int{404, 404, 404, 404}},
		{"GET", "/sessions", "", [4]int{200, 200, 200, 200}},
		{"GET", "/sessions?open=true", "", [4]int{200, 200, 200, 200}},
		{"GET", "/sessions/nothing", "", [4]int{404, 404, 404, 404}},
		{"GET", "/sessions/nothing/events", "", [4]int{404, 404, 404, 404}},
		{"GET", "/nodes", "", [4]int{200, 200, 200, 200}},
		{"GET", "/trust", "", [4]int{200, 200, 200, 200}},
		{"GET", "/audit", "", [4]int{403, 403, 200, 200}},
		{"GET", "/tokens", "", [4]int{403, 403, 403, 200}},
		{"POST", "/sessions", open, [4]int{403, 503, 503, 503}}, // no node
		{"DELETE", "/sessions/nothing", "", [4]int{404, 404, 404, 404}},
		{"POST", "/sessions/nothing/extend", `{"lifetime_s":60}`, [4]int{404, 404, 404, 404}},
		{"PUT", "/devices/kiosk-1", device, [4]int{403, 403, 403, 200}},
		{"POST", "/devices:import", "kiosk-1," + key.String(), [4]int{403, 403, 403, 200}},
		{"POST", "/nodes", `{"name":"wg-1"}`, [4]int{403, 403, 403, 201}},
		{"POST", "/nodes/wg-1/drain", `{"draining":true}`, [4]int{403, 403, 403, 200}},
		{"DELETE", "/nodes/wg-9", "", [4]int{403, 403, 403, 404}},
		{"POST", "/tokens", `{"user":"u","role":"viewer"}`, [4]int{403, 403, 403, 201}},
		{"DELETE", "/tokens/nothing", "", [4]int{403, 403, 403, 404}},
		{"DELETE", "/devices/kiosk-1", "", [4]int{403, 403, 403, 204}},
	} {
		for i, r := range []Role{Viewer, Operator, Approver, Admin} {
			status, code := call(t, url, tc.method, tc.path, tc.body, tokens[r])
			if status != tc.want[i] {
				t.Errorf("%s %s as %s: %d %s, want %d", tc.method, tc.path, r, status, code, tc.want[i])
			}
			if status >= 400 && code == "" {
				t.Errorf("%s %s as %s: %d without a code", tc.method, tc.path, r, status)
			}
		}
		for name, token := range map[string]string{"nobody": "", "a wrong token": "bwt_AAAA", "a scheme": "x"} {
			if status, code := call(t, url, tc.method, tc.path, tc.body, token); status != http.StatusUnauthorized || code != "unauthenticated" {
				t.Errorf("%s %s as %s: %d %s", tc.method, tc.path, name, status, code)
			}
		}
	}
	if status, _ := call(t, url, "GET", "/tokens", "", expiring); status != 200 {
		t.Errorf("before its end: %d", status)
	}
	clock.move(time.Hour)
	if status, _ := call(t, url, "GET", "/tokens", "", expiring); status != 401 {
		t.Errorf("after its end: %d", status)
	}
	// A token survives a restart by its hash, and dies when it is deleted.
	rows, err := w.c.store.Tokens(t.Context())
	if err != nil || len(rows) < 5 {
		t.Fatal(err, len(rows))
	}
	for _, r := range rows {
		for _, secret := range tokens {
			if strings.Contains(fmt.Sprint(r), secret) {
				t.Error("a token stands in the database")
			}
		}
	}
	w.restart()
	url = w.served()
	if status, _ := call(t, url, "GET", "/tokens", "", tokens[Admin]); status != 200 {
		t.Errorf("after a restart: %d", status)
	}
	for _, r := range rows {
		if r.User == "admin" {
			if err := w.admin.DeleteToken(t.Context(), r.ID); err != nil {
				t.Error(err)
			}
		}
	}
	if status, _ := call(t, url, "GET", "/tokens", "", tokens[Admin]); status != 401 {
		t.Errorf("a deleted token: %d", status)
	}
}

func call(t testing.TB, url, method, path, body, token string) (status int, code string) {
	t.Helper()
	req, err := http.NewRequest(method, url+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if strings.HasSuffix(path, ":import") {
		req.Header.Set("Content-Type", "text/csv")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	var e client.Error
	if r.StatusCode >= 400 {
		if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
			t.Errorf("%s %s: a refusal of the type %s: %s", method, path, got, b)
		}
		if err := json.Unmarshal(b, &e); err != nil || e.Status != r.StatusCode {
			t.Errorf("%s %s: %s", method, path, b)
		}
	}
	return r.StatusCode, e.Code
}

// A server's own deadlines are for slow strangers, not for calls that wait for a node.
func TestOpenOutlastsDeadlines(t *testing.T) {
	w := newWorld(t, nil)
	s := httptest.NewUnstartedServer(w.c)
	s.Config.ReadTimeout, s.Config.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	s.Start()
	defer s.Close()
	n := w.node("wg-1")
	n.mute = true
	b := w.booth("kiosk-1", true).serve().known()
	n.proves(b)
	go func() {
		for {
			time.Sleep(900 * time.Millisecond)
			n.mu.Lock()
			for id, rev := range n.held {
				go n.say(eventInstalled, id, rev, "")
			}
			asked := len(n.held) > 0
			n.mu.Unlock()
			if asked {
				return
			}
		}
	}()
	c := client.New(s.URL, &client.Config{Token: w.token(op("ann")), HTTP: s.Client()})
	v, err := c.OpenSession(t.Context(), "kiosk-1", &client.OpenRequest{Key: keys.NewPrivateKey().Public()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextFor(patience)
	defer cancel()
	closing := time.AfterFunc(900*time.Millisecond, func() { _, _ = c.CloseSession(ctx, v.ID) })
	defer closing.Stop()
	streams := 0
	for v, err := range c.WatchSession(ctx, v.ID) {
		if err != nil {
			t.Fatal(err)
		}
		streams++
		_ = v
	}
	if streams == 0 {
		t.Error("nothing was seen")
	}
}

func TestGroups(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	for id, group := range map[string]string{"north-1": "north", "south-1": "south"} {
		b := w.booth(id, true).serve().known()
		n.proves(b)
		if _, err := w.admin.PutDevice(t.Context(), id, &client.DeviceRequest{Key: b.keys.Key(), Group: group}); err != nil {
			t.Fatal(err)
		}
	}
	if d := w.shown("north-1"); d.Prekeys == 0 || d.Group != "north" {
		t.Errorf("a change of group made it %+v", d)
	}
	ann := User{Name: "ann", Role: Operator, Groups: []string{"north"}}
	c := w.c.Client(ann)
	var seen []string
	for d, err := range c.Devices(t.Context(), client.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, d.ID)
	}
	if !slices.Equal(seen, []string{"north-1"}) {
		t.Errorf("ann sees %v", seen)
	}
	if _, err := w.open(ann, "south-1"); code(err) != "not_found" {
		t.Errorf("another group's device: %v", err)
	}
	s := w.mustOpen(op("bob"), "south-1")
	if _, err := c.Session(t.Context(), s.ID); code(err) != "not_found" {
		t.Errorf("another group's session: %v", err)
	}
	for _, open := range []bool{true, false} {
		for s, err := range c.Sessions(t.Context(), client.Filter{Open: open}) {
			t.Errorf("ann sees %+v, %v", s, err)
		}
	}
	w.mustOpen(ann, "north-1")
}

func TestImport(t *testing.T) {
	w := newWorld(t, nil)
	a, b := w.device("a", keys.NewMemory()).Key().String(), w.device("b", keys.NewMemory()).Key().String()
	_, err := w.admin.ImportDevices(t.Context(), strings.NewReader("id,key,group\na,"+a+"\n../b,"+b+"\nc,nonsense\nd\na,"+b+"\ne,"+b+",no group\nf,"+strings.Repeat("A", 43)+"=\n\"g,"+b))
	e, ok := err.(*client.Error)
	if !ok || e.Code != "bad_import" {
		t.Fatalf("%v", err)
	}
	got := ""
	for _, l := range e.Lines {
		got += fmt.Sprintf("%d %s, ", l.Line, l.Code)
	}
	if want := "3 bad_id, 4 bad_key, 5 bad_line, 6 repeated, 7 bad_group, 8 bad_key, 9 bad_line, "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if w.c.Stats().Devices != 0 {
		t.Error("a part was imported")
	}
	i, err := w.admin.ImportDevices(t.Context(), strings.NewReader("\ufeffa, "+a+"\r\nb,"+b+",north\r\n"))
	if err != nil || i != (client.Import{Added: 2}) {
		t.Fatalf("%+v, %v", i, err)
	}
	i, err = w.admin.ImportDevices(t.Context(), strings.NewReader("a,"+a+"\nb,"+b+",south\n"))
	if err != nil || i != (client.Import{Changed: 1, Same: 1}) {
		t.Errorf("%+v, %v", i, err)
	}
	w.restart()
	if d := w.shown("b"); d.Group != "south" || d.Key.String() != b {
		t.Errorf("after a restart %+v", d)
	}
	if _, err := w.admin.ImportDevices(t.Context(), strings.NewReader("id,key\n")); code(err) != "bad_import" {
		t.Errorf("an empty file: %v", err)
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t, nil)
	var csv strings.Builder
	key := w.device("x", keys.NewMemory()).Key()
	for i := range 2500 {
		fmt.Fprintf(&csv, "kiosk-%04d,%s\n", i, key)
	}
	if _, err := w.admin.ImportDevices(t.Context(), strings.NewReader(csv.String())); err != nil {
		t.Fatal(err)
	}
	n := 0
	for d, err := range w.admin.Devices(t.Context(), client.Filter{Limit: 1000}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("kiosk-%04d", n); d.ID != want {
			t.Fatalf("%s, want %s", d.ID, want)
		}
		n++
	}
	if n != 2500 {
		t.Errorf("%d devices", n)
	}
	n = 0
	for range w.admin.Devices(t.Context(), client.Filter{Text: "-12"}) {
		n++
	}
	if n != 100 {
		t.Errorf("%d devices with -12", n)
	}
}

func TestBodies(t *testing.T) {
	w := newWorld(t, nil)
	url, token := w.served(), w.token(User{Name: "root", Role: Admin})
	for _, tc := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"1 MiB", `{"device":"` + strings.Repeat("a", 1<<20) + `"}`, 413, "oversized"},
		{"not JSON", `hello`, 400, "malformed"},
		{"twice", `{"device":"a","device":"b","key":"x"}`, 400, "malformed"},
		{"deep", `{"device":` + strings.Repeat("[", 30) + strings.Repeat("]", 30) + `}`, 400, "malformed"},
		{"no key", `{"device":"a"}`, 422, "malformed"},
		{"a wrong key", `{"device":"a","key":"x"}`, 0, "malformed"},
		{"a wrong port", `{"device":"a","key":"` + keys.NewPrivateKey().Public().String() + `","ports":["tcp/0"]}`, 0, "malformed"},
		{"nothing", ``, 400, "malformed"},
	} {
		status, code := call(t, url, "POST", "/sessions", tc.body, token)
		if tc.status != 0 && status != tc.status || status < 400 || status >= 500 || code != tc.code {
			t.Errorf("%s: %d %s, want %d %s", tc.name, status, code, tc.status, tc.code)
		}
	}
	if status, code := call(t, url, "POST", "/devices:import", strings.Repeat("a", 9<<20), token); status != 413 || code != "oversized" {
		t.Errorf("9 MiB of CSV: %d %s", status, code)
	}
}

func TestOpenAPI(t *testing.T) {
	w := newWorld(t, nil)
	url := w.served()
	r, err := http.Get(url + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	raw, _ := io.ReadAll(r.Body)
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Summary     string `json:"summary"`
			Security    []map[string][]string
			Responses   map[string]struct {
				Content map[string]struct{ Schema map[string]any }
			}
		}
		Components struct {
			Schemas         map[string]any
			SecuritySchemes map[string]any `json:"securitySchemes"`
		}
	}
	if err := json.Unmarshal(raw, &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Components.SecuritySchemes["token"] == nil {
		t.Fatalf("%v: %.200s", err, raw)
	}
	want := []string{
		"DELETE /api/v1/devices/{id}", "DELETE /api/v1/nodes/{name}", "DELETE /api/v1/sessions/{id}", "DELETE /api/v1/tokens/{id}",
		"GET /api/v1/audit", "GET /api/v1/audit/export", "GET /api/v1/devices", "GET /api/v1/devices/events", "GET /api/v1/devices/{id}", "GET /api/v1/nodes", "GET /api/v1/revocations", "GET /api/v1/sessions",
		"GET /api/v1/sessions/{id}", "GET /api/v1/sessions/{id}/events", "GET /api/v1/sessions/{id}/grant", "GET /api/v1/sessions/{id}/offers", "GET /api/v1/tokens", "GET /api/v1/trust",
		"POST /api/v1/devices:import", "POST /api/v1/nodes", "POST /api/v1/nodes/{name}/drain", "POST /api/v1/sessions", "POST /api/v1/sessions/{id}/extend",
		"POST /api/v1/sessions/{id}/offers", "POST /api/v1/sessions/{id}/renew", "POST /api/v1/tokens", "PUT /api/v1/devices/{id}",
	}
	var got []string
	ids := map[string]bool{}
	for path, item := range doc.Paths {
		for method, o := range item {
			got = append(got, strings.ToUpper(method)+" "+path)
			if o.OperationID == "" || ids[o.OperationID] || o.Summary == "" || len(o.Security) == 0 {
				t.Errorf("%s %s: %+v", method, path, o)
			}
			ids[o.OperationID] = true
			ok := false
			for _, res := range o.Responses {
				if p := res.Content["application/problem+json"]; p.Schema != nil {
					ok = p.Schema["$ref"] == "#/components/schemas/Error"
				}
			}
			if !ok {
				t.Errorf("%s %s: its refusals are not described", method, path)
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("routes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Every reference leads somewhere.
	for _, ref := range strings.Split(string(raw), `"$ref":"`)[1:] {
		name, _, _ := strings.Cut(ref, `"`)
		if name, ok := strings.CutPrefix(name, "#/components/schemas/"); !ok || doc.Components.Schemas[name] == nil {
			t.Errorf("reference %s", name)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		r, err := http.Get(url + path)
		if err != nil || r.StatusCode != 200 {
			t.Errorf("%s: %v", path, err)
		}
		r.Body.Close()
	}
	if status, code := call(t, url, "GET", "/nonsense", "", ""); status != 404 || code != "not_found" {
		t.Errorf("no such route: %d %s", status, code)
	}
}

// cutter is a server that breaks streams after some events.
func TestWatchResumes(t *testing.T) {
	w := newWorld(t, nil)
	_, _, s := w.connected()

	var asked []string
	cut := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Last-Event-ID"))
		if len(asked)%2 == 0 {
			rw.WriteHeader(http.StatusBadGateway) // a proxy that is restarted
			return
		}
		req, _ := http.NewRequestWithContext(r.Context(), r.Method, localURL+r.URL.Path, nil)
		req.Header = r.Header
		res, err := (&http.Client{Transport: &local{c: w.c, user: &User{Name: "ann", Role: Operator}}}).Do(req)
		if err != nil {
			return
		}
		defer res.Body.Close()
		rw.Header().Set("Content-Type", "text/event-stream")
		events := 0
		for lines := bufio.NewScanner(res.Body); lines.Scan() && events < 1; {
			fmt.Fprintf(rw, "%s\n", lines.Bytes())
			rw.(http.Flusher).Flush()
			if strings.HasPrefix(lines.Text(), "data:") {
				fmt.Fprint(rw, "\n")
				events++
			}
		}
	}))
	defer cut.Close()
	var states []client.SessionState
	ctx, cancel := contextFor(patience)
	defer cancel()
	for v, err := range client.New(cut.URL, nil).WatchSession(ctx, s.ID) {
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, v.State)
		if len(states) == 1 {
			w.mustClose(op("ann"), s.ID)
		}
	}
	if states[0] != client.Connected || states[len(states)-1] != client.Closed {
		t.Errorf("saw %v", states)
	}
	if len(asked) < 3 || asked[0] != "" || asked[2] == "" {
		t.Errorf("asked with %q", asked)
	}
	// What was seen is not said again: with the last id nothing comes until a change.
	s = w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	v, version, err := backend{w.c}.WatchSession(ctx, op("ann"), s.ID, 0)
	if err != nil || v.ID != s.ID {
		t.Fatal(err)
	}
	short, stop := contextFor(50 * time.Millisecond)
	defer stop()
	if v, again, err := (backend{w.c}).WatchSession(short, op("ann"), s.ID, version); err == nil && again == version {
		t.Errorf("said again: %+v", v)
	}
}

func TestOfflineRoot(t *testing.T) {
	store := keys.NewMemory()
	root, err := keys.OpenIdentity(keys.NewMemory(), "root")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := keys.OpenIdentity(store, nameSigner)
	if err != nil {
		t.Fatal(err)
	}
	record, err := keys.SignRecord(root, keys.Record{ID: "online-1", Key: signer.Key(), Scope: scope(), Epoch: 3})
	if err == nil {
		err = store.Save(nameRecord, record)
	}
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, &Config{Store: store})
	if got := w.c.Roots(); len(got) != 1 || got[0] != root.Key().String() {
		t.Errorf("roots %v, want %s", got, root.Key())
	}
	w.pair()
	w.reaches(w.mustOpen(op("ann"), "kiosk-1").ID, client.Connected)
	if _, err := store.Load(nameRoot); err == nil {
		t.Error("a root was made beside the record")
	}
	// A record of another key, or of another deployment, is no start.
	other := keys.NewMemory()
	_ = other.Save(nameRecord, record)
	if _, err := Open(t.Context(), ":memory:", &Config{Store: other}); err == nil {
		t.Error("opened without the record's key")
	}
	if _, err := Open(t.Context(), ":memory:", &Config{Store: store, Issuer: "other"}); err == nil {
		t.Error("opened for another deployment")
	}
	if _, err := Open(t.Context(), ":memory:", nil); err == nil {
		t.Error("opened without a store")
	}
}
