package https

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/signaling"
)

// desk is a Sender that is called without a network, so every request goes by the
// goroutine that waits.
type desk struct {
	t      *testing.T
	queue  *Memory
	sender *Sender
}

func newDesk(t *testing.T) *desk {
	q := NewQueue()
	if err := q.Register("a", publicKey("a")); err != nil {
		t.Fatal(err)
	}
	if err := q.Register("b", publicKey("b")); err != nil {
		t.Fatal(err)
	}
	return &desk{t, q, NewSender(q, nil)}
}

func (d *desk) do(r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	d.sender.ServeHTTP(w, r)
	return w.Result()
}

// nonce asks for one as a client does that has none.
func (d *desk) nonce(device string) string {
	d.t.Helper()
	res := d.do(httptest.NewRequest("GET", "/device/v1/devices/"+device+"/commands", nil))
	if res.StatusCode != http.StatusUnauthorized || res.Header.Get("WWW-Authenticate") != scheme {
		d.t.Fatalf("without credentials: %d, %q", res.StatusCode, res.Header.Get("WWW-Authenticate"))
	}
	nonce, _, _ := strings.Cut(res.Header.Get(headerNonce), ", ")
	return nonce
}

// signed is a request as the device makes it.
func (d *desk) signed(method, device, op, query, nonce string, body []byte) *http.Request {
	d.t.Helper()
	t := target(device, op, query)
	h, err := sign(deviceKey(device), device, nonce, method, t, body)
	if err != nil {
		d.t.Fatal(err)
	}
	r := httptest.NewRequest(method, "/device/"+t, bytes.NewReader(body))
	r.Header.Set("Authorization", h)
	return r
}

func TestAuthentic(t *testing.T) {
	body := []byte(`{"vpn":"connected"}`)
	tests := []struct {
		name string
		make func(d *desk) *http.Request
		want int
	}{
		{"a good one", func(d *desk) *http.Request {
			return d.signed("POST", "a", "status", "retain=1", d.nonce("a"), body)
		}, 204},
		{"no credentials", func(d *desk) *http.Request {
			return httptest.NewRequest("POST", "/device/v1/devices/a/status", bytes.NewReader(body))
		}, 401},
		{"another scheme", func(d *desk) *http.Request {
			r := d.signed("POST", "a", "status", "", d.nonce("a"), body)
			r.Header.Set("Authorization", "Bearer x")
			return r
		}, 400},
		{"two of them", func(d *desk) *http.Request {
			r := d.signed("POST", "a", "status", "", d.nonce("a"), body)
			r.Header.Add("Authorization", r.Header.Get("Authorization"))
			return r
		}, 400},
		{"body swapped", func(d *desk) *http.Request {
			r := d.signed("POST", "a", "status", "", d.nonce("a"), body)
			other := httptest.NewRequest("POST", r.URL.Path, strings.NewReader(`{"vpn":"disconnect"}`))
			other.Header = r.Header
			return other
		}, 403},
		{"query swapped", func(d *desk) *http.Request {
			r := d.signed("POST", "a", "status", "retain=0", d.nonce("a"), body)
			r.URL.RawQuery = "retain=1"
			return r
		}, 403},
		{"call swapped", func(d *desk) *http.Request {
			r := d.signed("POST", "a", "status", "", d.nonce("a"), nil)
			other := httptest.NewRequest("GET", "/device/v1/devices/a/commands", nil)
			other.Header = r.Header
			return other
		}, 403},
		{"another device's key", func(d *desk) *http.Request {
			nonce := d.nonce("a")
			h, _ := sign(deviceKey("b"), "a", nonce, "POST", target("a", "status", ""), body)
			r := httptest.NewRequest("POST", "/device/v1/devices/a/status", bytes.NewReader(body))
			r.Header.Set("Authorization", h)
			return r
		}, 403},
		{"another device's nonce", func(d *desk) *http.Request {
			return d.signed("POST", "a", "status", "", d.nonce("b"), body)
		}, 401},
		{"an unknown device", func(d *desk) *http.Request {
			return d.signed("POST", "c", "status", "", d.nonce("c"), body)
		}, 403},
		{"a nonce of another server", func(d *desk) *http.Request {
			return d.signed("POST", "a", "status", "", newDesk(d.t).nonce("a"), body)
		}, 401},
		{"a nonce with one bit changed", func(d *desk) *http.Request {
			nonce := []byte(d.nonce("a"))
			if nonce[3]++; nonce[3] > 'z' {
				nonce[3] = 'A'
			}
			return d.signed("POST", "a", "status", "", string(nonce), body)
		}, 401},
		{"too large", func(d *desk) *http.Request {
			return d.signed("POST", "a", "status", "", d.nonce("a"), make([]byte, signaling.MaxStatus+1))
		}, 413},
		{"too large, of unknown length", func(d *desk) *http.Request {
			r := d.signed("POST", "a", "status", "", d.nonce("a"), make([]byte, signaling.MaxStatus+1))
			r.ContentLength = -1
			return r
		}, 413},
		{"the largest", func(d *desk) *http.Request {
			return d.signed("POST", "a", "status", "", d.nonce("a"), make([]byte, signaling.MaxStatus))
		}, 204},
		{"a poll with a body", func(d *desk) *http.Request {
			return d.signed("GET", "a", "commands", "", d.nonce("a"), body)
		}, 413},
		{"an empty status", func(d *desk) *http.Request {
			return d.signed("POST", "a", "status", "", d.nonce("a"), nil)
		}, 400},
		{"another method", func(d *desk) *http.Request {
			return d.signed("PUT", "a", "status", "", d.nonce("a"), body)
		}, 404},
		{"a malformed query", func(d *desk) *http.Request {
			return d.signed("GET", "a", "commands", "after=-1", d.nonce("a"), nil)
		}, 400},
		{"a poll", func(d *desk) *http.Request {
			return d.signed("GET", "a", "commands", "after=0&wait=0", d.nonce("a"), nil)
		}, 204},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			got := d.sender.fan.join()
			r := tt.make(d)
			res := d.do(r)
			if res.StatusCode != tt.want {
				t.Errorf("got %d, want %d", res.StatusCode, tt.want)
			}
			if n, want := len(got), btoi(tt.want == 204 && r.Method == "POST"); n != want {
				t.Errorf("%d statuses came through, want %d", n, want)
			}
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestSignedText(t *testing.T) {
	texts := map[string]bool{}
	for _, f := range [][5]string{
		{"a", "n", "GET", "t", "b"}, {"c", "n", "GET", "t", "b"}, {"a", "m", "GET", "t", "b"},
		{"a", "n", "POST", "t", "b"}, {"a", "n", "GET", "u", "b"}, {"a", "n", "GET", "t", ""},
	} {
		texts[string(signedText(f[0], f[1], f[2], f[3], []byte(f[4])))] = true
	}
	if len(texts) != 6 {
		t.Errorf("%d texts of 6 requests", len(texts))
	}
	want := "boothwire-https-v1\na\nn\nGET\nv1/devices/a/commands?wait=1\n" +
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if got := string(signedText("a", "n", "GET", target("a", "commands", "wait=1"), nil)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReplay(t *testing.T) {
	d := newDesk(t)
	got := d.sender.fan.join()
	nonce := d.nonce("a")
	body := []byte(`{"vpn":"connected"}`)
	for i, want := range []int{204, 401, 401} {
		res := d.do(d.signed("POST", "a", "status", "", nonce, body))
		if res.StatusCode != want {
			t.Errorf("use %d of a nonce: got %d, want %d", i+1, res.StatusCode, want)
		}
		if res.Header.Get(headerNonce) == "" {
			t.Errorf("use %d of a nonce: no next nonce", i+1)
		}
	}
	if len(got) != 1 {
		t.Errorf("%d statuses came through, want 1", len(got))
	}
}

func TestRefusedKeepsNonce(t *testing.T) {
	// Who cannot sign must not spend the nonce of who can.
	d := newDesk(t)
	d.sender.fan.join()
	nonce := d.nonce("a")
	forged := d.signed("POST", "a", "status", "", nonce, []byte("{}"))
	forged.URL.RawQuery = "retain=1"
	if res := d.do(forged); res.StatusCode != http.StatusForbidden {
		t.Fatalf("forged: %d", res.StatusCode)
	}
	if res := d.do(d.signed("POST", "a", "status", "", nonce, []byte("{}"))); res.StatusCode != http.StatusNoContent {
		t.Errorf("genuine with the same nonce: %d, want 204", res.StatusCode)
	}
}

func TestNonceLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNonces()
		text := n.issue("a")
		time.Sleep(NonceLife)
		if _, err := n.check(text, "a"); err != nil {
			t.Errorf("at its last second: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := n.check(text, "a"); err != errNonceOld {
			t.Errorf("after it: %v, want %v", err, errNonceOld)
		}
	})
}

func TestNonceWindow(t *testing.T) {
	n := newNonces()
	first := n.issue("a")
	number, err := n.check(first, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.use(number); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.next = number + nonceWindow
	n.mu.Unlock()
	if err := n.use(number); err != errNonceUsed {
		t.Errorf("the oldest of the window: %v, want %v", err, errNonceUsed)
	}
	// The next one takes its bit over.
	next := n.issue("a")
	if m, err := n.check(next, "a"); err != nil || m != number+nonceWindow {
		t.Errorf("next: %d, %v", m, err)
	}
	if _, err := n.check(first, "a"); err != errNonceOld {
		t.Errorf("out of the window: %v, want %v", err, errNonceOld)
	}
}
