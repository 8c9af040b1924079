package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/keys"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return New(s.URL+"/", &Config{Token: "secret", HTTP: s.Client()})
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		status int
		body   string
		code   string
	}{
		{409, `{"status":409,"code":"busy","detail":"another one"}`, "busy"},
		{422, `{"status":200,"code":"bad_import","lines":[{"line":3,"code":"bad_id","text":"x"}]}`, "bad_import"},
		{502, `<html>`, "http"},
		{502, `{}`, "http"},
		{500, ``, "http"},
		{500, `{"code":"` + strings.Repeat("a", maxError), "http"},
		{301, ``, "http"},
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer secret" {
				t.Error("without the token")
			}
			w.WriteHeader(tc.status)
			fmt.Fprint(w, tc.body)
		})
		_, err := c.Session(t.Context(), "x")
		var e *Error
		if !errors.As(err, &e) || e.Code != tc.code || e.Status != tc.status {
			t.Errorf("%d %.40s: %v", tc.status, tc.body, err)
		}
		if strings.Contains(fmt.Sprint(err), "secret") {
			t.Error("the token is in the error")
		}
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "not JSON") })
	if _, err := c.Session(t.Context(), "x"); err == nil {
		t.Error("an answer that is none was taken")
	}
}

func TestList(t *testing.T) {
	calls := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		q := r.URL.Query()
		if q.Get("group") != "north" || q.Get("limit") != "2" || r.URL.Path != "/api/v1/devices" {
			t.Errorf("asked %s", r.URL)
		}
		switch q.Get("after") {
		case "":
			fmt.Fprint(w, `{"items":[{"id":"a","key":""},{"id":"b","key":""}],"next":"b"}`)
		case "b":
			fmt.Fprint(w, `{"items":[{"id":"c","key":""}]}`)
		}
	})
	got := ""
	for d, err := range c.Devices(t.Context(), Filter{Group: "north", Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		got += d.ID
	}
	if got != "abc" || calls != 2 {
		t.Errorf("%s in %d calls", got, calls)
	}
	for range c.Devices(t.Context(), Filter{Group: "north", Limit: 2}) {
		break
	}
	if calls != 3 {
		t.Errorf("%d calls after a break", calls)
	}
}

func TestPaths(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"id":%q}`, r.Method+" "+r.URL.EscapedPath()+"?"+r.URL.RawQuery)
	})
	s, err := c.RemoveOperator(t.Context(), "a/b?c", "o 1")
	if err != nil || s.ID != "DELETE /api/v1/sessions/a%2Fb%3Fc?operator=o+1" {
		t.Errorf("%s, %v", s.ID, err)
	}
	if s, err = c.ExtendSession(t.Context(), "x", time.Hour); err != nil || s.ID != "POST /api/v1/sessions/x/extend?" {
		t.Errorf("%s, %v", s.ID, err)
	}
	if s, err = c.OpenSession(t.Context(), "d", nil); err != nil || s.ID != "POST /api/v1/sessions?" {
		t.Errorf("%s, %v", s.ID, err)
	}
}

func TestWatch(t *testing.T) {
	n := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		switch n {
		case 1:
			fmt.Fprint(w, ": hello\n\nevent: session\nid: 7\ndata: {\"id\":\"x\",\"state\":\"opening\"}\n\nid: 8\ndata: {\"cut")
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			if got := r.Header.Get("Last-Event-ID"); got != "7" {
				t.Errorf("asked after %q", got)
			}
			fmt.Fprint(w, "id: 9\ndata: {\"id\":\"x\",\ndata: \"state\":\"closed\"}\n\nid: 10\ndata: {}\n\n")
		default:
			t.Error("asked after the end")
		}
	})
	var got []SessionState
	for s, err := range c.WatchSession(t.Context(), "x") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s.State)
	}
	if fmt.Sprint(got) != "[opening closed]" || n != 3 {
		t.Errorf("saw %v in %d connections", got, n)
	}
	// A refusal is final, and so is the caller's end.
	c = serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"code":"not_found"}`)
	})
	for _, err := range c.WatchSession(t.Context(), "x") {
		var e *Error
		if !errors.As(err, &e) || e.Code != "not_found" {
			t.Errorf("%v", err)
		}
	}
	c = serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for _, err := range c.WatchSession(ctx, "x") {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	}
}

func TestJSON(t *testing.T) {
	b, err := json.Marshal(OpenRequest{Device: "d", Key: keys.PublicKey{1}, Ports: []keys.Port{keys.TCP(22)}, Lifetime: SecondsOf(90*time.Second + 1)})
	want := `{"device":"d","key":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","ports":["tcp/22"],"lifetime_s":91}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	b, _ = json.Marshal(Step{Stage: "ready", After: 1500, By: ByDevice})
	if string(b) != `{"stage":"ready","after_us":1500,"by":"device"}` || Micros(1500).Duration() != 1500*time.Microsecond {
		t.Errorf("%s", b)
	}
	b, _ = json.Marshal(Device{ID: "d", Online: Unknown})
	if strings.Contains(string(b), "0001-01-01") || strings.Contains(string(b), "invalid") {
		t.Errorf("%s", b)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add("data: x\n\n")
	f.Add("id: 1\nevent: a\ndata: x\ndata:y\nretry: 5\n:c\n\ndata\n\n")
	f.Add("data: x\r\n\r\nid:\x00\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		for e, err := range readEvents(strings.NewReader(s)) {
			if err != nil {
				return
			}
			if len(e.data) > len(s) || strings.ContainsAny(e.id, "\n\x00") {
				t.Fatalf("%q from %q", e, s)
			}
		}
	})
}
