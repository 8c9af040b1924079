package control

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// Whatever arrives on a status topic: nothing unsigned changes a registered device.
func FuzzDeliver(f *testing.F) {
	w := newWorld(f, nil)
	d := w.device("kiosk-1", keys.NewMemory())
	if _, err := w.admin.AddDevice(f.Context(), "kiosk-1", d.Key()); err != nil {
		f.Fatal(err)
	}
	stranger := w.device("kiosk-1", keys.NewMemory())
	f.Add([]byte(`{"vpn":"connected","ip":"10.166.0.5"}`), true)
	f.Add([]byte(`{"vpn":"offline"}`), false)
	f.Add([]byte(`{"vpn":"failed","session":"x","re":"y","code":"busy","token":"a.b.c"}`), false)
	f.Add(says(f, stranger, keys.TypeStatus, signaling.Status{VPN: signaling.Connected, V: 1}), true)
	f.Add(outer(f, signaling.Status{VPN: signaling.Connected, Prekeys: stranger.Prekeys()}), true)
	request, _, err := stranger.Request([]byte(`{"server":"wg-1","session":""}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(outer(f, signaling.Status{VPN: signaling.Connected, Request: request}), false)
	f.Fuzz(func(t *testing.T, b []byte, retained bool) {
		w.c.deliver(w.fleet, signaling.Message{Device: "kiosk-1", Payload: b, Retained: retained})
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		v := w.c.devices["kiosk-1"]
		if v.row.State != "" || v.row.Boot != "" || v.row.Seq != 0 || len(v.prekeys) != 0 || v.session != nil || !v.row.Seen.IsZero() {
			t.Fatalf("changed to %+v", v.row)
		}
	})
}

func FuzzCSV(f *testing.F) {
	key := testKey(f).String()
	f.Add([]byte("id,key,group\na," + key + ",north\n"))
	f.Add([]byte("\ufeffa," + key + "\r\n\"b\"," + key))
	f.Add([]byte("a,b,c,d\n\"\n\n,,\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, bad := readCSV(b)
		seen := map[string]bool{}
		for _, e := range list {
			if !keys.ValidID(e.id) || e.key.IsZero() || seen[e.id] || e.group != "" && !keys.ValidID(e.group) {
				t.Fatalf("took %+v", e)
			}
			seen[e.id] = true
		}
		for _, l := range bad {
			if l.Line < 1 || l.Code == "" {
				t.Fatalf("bad line %+v", l)
			}
		}
	})
}

func testKey(t testing.TB) keys.IdentityKey {
	t.Helper()
	id, err := keys.OpenIdentity(keys.NewMemory(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return id.Key()
}

// What a node sends, enrolled or not, is answered and never believed about a session
// that is not its own.
func FuzzNode(f *testing.F) {
	w := newWorld(f, nil)
	n := w.node("wg-1")
	url := http.HandlerFunc(w.c.ServeHTTP)
	for _, s := range []string{
		`{"seq":1,"events":[{"kind":"installed","session":"s","rev":1,"at_us":1}],"sessions":[{"session":"s","rev":1}],"endpoints":["192.0.2.1:1"]}`,
		`{"seq":1,"events":[{"kind":"refused","session":"","code":"x"}],"stats":{"a":{"b":[1,2]}}}`,
		`{"seq":18446744073709551615,"events":[{"kind":"bytes","rx":18446744073709551615}]}`,
		`{"claim":"bwn1.AAAAAAAAAAAAAAAAAAAAAA.","name":"wg-1","key":"","endpoints":[]}`,
		`{"endpoints":["0.0.0.0:0","[::]:1","224.0.0.1:1"]}`,
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, report bool) {
		path := pathEnroll
		if report {
			path = pathReport
		}
		r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(b))
		r = r.WithContext(contextWithIdentity(r.Context(), n.id.Key()))
		rec := httptest.NewRecorder()
		url.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Fatalf("answered %d: %s", rec.Code, rec.Body)
		}
		if rec.Code >= 400 && !strings.Contains(rec.Body.String(), `"code"`) {
			t.Fatalf("refused without a code: %s", rec.Body)
		}
		for _, e := range w.c.nodes["wg-1"].endpoints {
			if !e.IsValid() || e.Addr().IsUnspecified() {
				t.Fatalf("endpoint %v", e)
			}
		}
	})
}

// Whatever is posted to the API is answered with a problem or a result.
func FuzzAPI(f *testing.F) {
	w := newWorld(f, nil)
	token := w.token(User{Name: "ann", Role: Operator})
	f.Add("POST", "/api/v1/sessions", []byte(`{"device":"a","key":"`+keys.NewPrivateKey().Public().String()+`","ports":["tcp/22"],"lifetime_s":60}`))
	f.Add("POST", "/api/v1/sessions/x/extend", []byte(`{"lifetime_s":60}`))
	f.Add("DELETE", "/api/v1/sessions/x?operator=y", []byte(nil))
	f.Add("GET", "/api/v1/devices?limit=3&after=x&text=y", []byte(nil))
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		if method != "GET" && method != "POST" && method != "DELETE" && method != "PUT" || !strings.HasPrefix(path, "/api/v1/") || strings.Contains(path, "events") {
			return
		}
		req, err := http.NewRequest(method, "http://x"+path, bytes.NewReader(body))
		if err != nil {
			return
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		w.c.ServeHTTP(rec, req)
		if rec.Code >= 500 && rec.Code != http.StatusServiceUnavailable {
			t.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
		}
	})
}
