package keys

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestGrantComesBack signs a grant with every field and reads it again.
func TestGrantComesBack(t *testing.T) {
	w := newWorld(t)
	g := w.grant("a", 3, w.keys()[0])
	g.Caps, g.Boot, g.Re = []string{"renew"}, w.device.Boot(), "n1"
	g.Far.OperatorEndpoints = []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:51820")}
	g.Relays = []Relay{{URL: "https://relay.example.com", Key: fixed(5).Public(), Token: "t"}}
	g.Crit = []string{"relays"}
	g.Operators[0].Ports = append(g.Operators[0].Ports, UDP(53))
	v := reflect.ValueOf(*g)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Fatalf("the test leaves %s out", v.Type().Field(i).Name)
		}
	}
	got, _ := w.accept("", w.sign(g))
	if !reflect.DeepEqual(got, g) {
		t.Errorf("got  %+v\nwant %+v", got, g)
	}
	b, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]any
	if err := json.Unmarshal(b, &names); err != nil {
		t.Fatal(err)
	}
	for n := range names {
		if critical(TypeGrant, encode(map[string][]string{"crit": {n}})) != nil {
			t.Errorf("crit does not know %q", n)
		}
	}
	if len(names) != len(known(TypeGrant)) {
		t.Errorf("crit knows %d fields, a grant has %d", len(known(TypeGrant)), len(names))
	}
	var back Grant
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(&back, g) {
		t.Errorf("JSON: %v %+v", err, back)
	}
	if err := json.Unmarshal([]byte(`{"v":1}`), &back); err == nil || back.Session != "a" {
		t.Error("a bad grant overwrote a good one")
	}
}

func TestGrantSignRefuses(t *testing.T) {
	w := newWorld(t)
	for name, f := range map[string]func(*Grant){
		"no session":       func(g *Grant) { g.Session = "" },
		"no lifetime":      func(g *Grant) { g.Lifetime = 0 },
		"half a second":    func(g *Grant) { g.Lifetime = time.Second / 2 },
		"wrong port":       func(g *Grant) { g.Operators[0].Ports[0].Proto = "sctp" },
		"two of one place": func(g *Grant) { g.Operators = append(g.Operators, g.Operators[0]) },
	} {
		g := w.grant("a", 1, w.keys()[0])
		f(g)
		if _, err := g.Sign(w.signer); reasonOf(err) != ReasonMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	g := w.grant("a", 1, w.keys()[0])
	g.V = 0
	if got, _ := w.accept("", w.sign(g)); got.V != GrantVersion || g.V != 0 {
		t.Error("the version is not filled in")
	}
	g.STUN = []string{strings.Repeat("x", MaxToken)}
	if _, err := g.Sign(w.signer); reasonOf(err) != ReasonOversized {
		t.Error(err)
	}
}

func TestICESecret(t *testing.T) {
	w := newWorld(t)
	device, tool := fixed(0x11), fixed(0x42)
	g := w.grant("a", 1, device.Public())
	a, b := g.ICESecret(device), g.ICESecret(tool)
	if len(a) != 32 || !bytes.Equal(a, b) {
		t.Fatalf("the ends differ: %x %x", a, b)
	}
	// Fixed for ever: an end of an older release must come to the same.
	const want = "23bd3931c2f46370fd243f5c908a4b5c690693862b9d17785ca575082618405a"
	if hex.EncodeToString(a) != want {
		t.Errorf("got %x", a)
	}
	if g.ICESecret(fixed(0x12)) != nil || g.ICESecret(PrivateKey{}) != nil {
		t.Error("a stranger has a secret")
	}
	g.Session = "b"
	if bytes.Equal(g.ICESecret(device), a) {
		t.Error("two sessions have one secret")
	}
}

func TestPorts(t *testing.T) {
	for _, s := range []string{"tcp/1", "tcp/22", "udp/65535"} {
		if p, err := ParsePort(s); err != nil || p.String() != s {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"", "tcp", "tcp/", "tcp/0", "tcp/65536", "tcp/+22", "tcp/022", "TCP/22", "icmp/8", "tcp/22 ", "tcp/22/1", "22"} {
		if _, err := ParsePort(s); err == nil {
			t.Errorf("parsed %q", s)
		}
	}
	for _, s := range []string{"", "a b", "a/b", "a+", "#", "é", strings.Repeat("x", 65)} {
		if ValidID(s) {
			t.Errorf("%q is an id", s)
		}
	}
	if id := NewID(); len(id) != 26 || !ValidID(id) || id != strings.ToLower(id) || id == NewID() {
		t.Error("NewID")
	}
}
