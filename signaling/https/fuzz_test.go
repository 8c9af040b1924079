package https

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func FuzzParseCredentials(f *testing.F) {
	good, err := sign(deviceKey("a"), "a", newNonces().issue("a"), "GET", target("a", "commands", ""), nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good, strings.ToLower(good), strings.ToLower(scheme) + good[len(scheme):], good + "=", good[:len(good)-1] + "_", "Bearer x", scheme + " .", "", scheme + "  a.b", good + "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		c, err := parseCredentials(header)
		if err != nil {
			return
		}
		if got := c.String(); !strings.EqualFold(got[:len(scheme)], header[:len(scheme)]) || got[len(scheme):] != header[len(scheme):] {
			t.Errorf("%q reads as %q", header, got)
		}
	})
}

func FuzzNonce(f *testing.F) {
	n := newNonces()
	good := n.issue("a")
	f.Add(good, "a")
	f.Add(good, "b")
	f.Add(strings.Repeat("A", nonceText), "a")
	f.Add(good[:nonceText-1]+"\n", "a")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, text, device string) {
		if _, err := n.check(text, device); err == nil && (text != good || device != "a") {
			t.Errorf("accepted %q of %q", text, device)
		}
	})
}

func FuzzParseCall(f *testing.F) {
	f.Add("GET", "/device/v1/devices/kiosk-1/commands", "after=7&epoch=ABC&wait=50")
	f.Add("GET", "v1/devices/a/commands", "after=18446744073709551615&wait=99999999999")
	f.Add("POST", "/v1/devices/a/status", "retain=1")
	f.Add("POST", "/v1/devices/../status", "retain=2")
	f.Add("GET", "/v1/devices/a/commands", "after=01")
	f.Add("GET", "/v1/devices/a/commands", "after=1&after=2")
	f.Add("GET", "/v1/devices/a/commands", "after=1;wait=2&&=")
	f.Add("GET", "/v1/devices/a/commands", "%61fter=1&later=x")
	f.Fuzz(func(t *testing.T, method, path, query string) {
		c, err := parseCall(method, path, query)
		if err != nil {
			return
		}
		if !validID(c.device) || c.wait < 0 || c.wait > maxWait || !validEpoch(c.after.Epoch) {
			t.Errorf("accepted %+v", c)
		}
		line := path
		if query != "" {
			line += "?" + query
		}
		if (c.op == opCommands) != (method == http.MethodGet) || !strings.HasSuffix(line, c.target) {
			t.Errorf("%s %s reads as %+v", method, line, c)
		}
		if strings.ContainsRune(c.target[:len(c.target)-len(query)], '\n') {
			t.Errorf("newline in %q", c.target)
		}
	})
}

func TestParseCall(t *testing.T) {
	good := []struct {
		path, query string
		want        call
	}{
		{"/device/v1/devices/k/commands", "", call{device: "k"}},
		{"/a/b/v1/devices/k/commands", "after=7&epoch=E1&wait=50", call{device: "k", after: Mark{Epoch: "E1", N: 7}, wait: 50 * time.Second}},
		{"v1/devices/k/commands", "wait=4000", call{device: "k", wait: maxWait}},
		{"/v1/devices/k/commands", "after=1&new=x", call{device: "k", after: Mark{N: 1}}},
	}
	for _, tt := range good {
		got, err := parseCall("GET", tt.path, tt.query)
		tt.want.op, tt.want.target = opCommands, target("k", opCommands, tt.query)
		if err != nil || got != tt.want {
			t.Errorf("%s?%s: got %+v, %v, want %+v", tt.path, tt.query, got, err, tt.want)
		}
	}
	bad := []struct{ path, query string }{
		{"/v1/devices/k/status", ""}, {"/v2/devices/k/commands", ""}, {"/v1/devices//commands", ""},
		{"/v1/devices/a b/commands", ""}, {"/v1/devices/k/commands/", ""}, {"/v1/devices/" + strings.Repeat("k", 65) + "/commands", ""},
		{"/v1/devices/k/commands", "after="}, {"/v1/devices/k/commands", "after=+1"}, {"/v1/devices/k/commands", "after=1&after=1"},
		{"/v1/devices/k/commands", "after=0x1"}, {"/v1/devices/k/commands", "after=18446744073709551616"},
		{"/v1/devices/k/commands", "epoch=%41"}, {"/v1/devices/k/commands", "wait"}, {"/v1/devices/k/commands", "&"},
		{"/v1/devices/k/commands", "x=" + strings.Repeat("y", maxQuery)},
	}
	for _, tt := range bad {
		if got, err := parseCall("GET", tt.path, tt.query); err == nil {
			t.Errorf("%s?%s accepted as %+v", tt.path, tt.query, got)
		}
	}
}
