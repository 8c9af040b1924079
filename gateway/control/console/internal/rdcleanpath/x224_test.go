package rdcleanpath

import (
	"bytes"
	"io"
	"testing"
)

func TestConnectionRequest(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want ConnectionRequest
	}{
		"of a browser":     {clientCR, ConnectionRequest{"Cookie: mstshash=kiosk", SSL}},
		"bare":             {unhex("0300000b06e00000000000"), ConnectionRequest{}},
		"without a cookie": {unhex("030000130ee0000000000001000800 0b000000"), ConnectionRequest{"", SSL | Hybrid | HybridEx}},
		"cookie alone":     {unhex("0300000e09e0000000000061 0d0a"), ConnectionRequest{"a", 0}},
		"with correlation": {append(unhex("0300003732e0000000000001080800 03000000 06002400"), make([]byte, 32)...), ConnectionRequest{"", SSL | Hybrid}},
	} {
		if got, err := ParseRequest(c.b); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestConnectionConfirm(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want ConnectionConfirm
	}{
		"TLS":          {serverCC, ConnectionConfirm{Security: SSL}},
		"NLA":          {unhex("030000130ed00000123400020f080002000000"), ConnectionConfirm{Security: Hybrid}},
		"NLA required": {unhex("030000130ed000001234000300080005000000"), ConnectionConfirm{Failure: HybridRequired}},
		"bare":         {unhex("0300000b06d00000123400"), ConnectionConfirm{}},
	} {
		got, err := ParseConfirm(c.b)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
		if want := name == "NLA"; got.Security.NLA() != want {
			t.Errorf("%s: NLA is %v", name, !want)
		}
	}
}

func TestNoX224(t *testing.T) {
	for name, s := range map[string]string{
		"empty":                  "",
		"another version":        "0200000b06e00000000000",
		"another length":         "0300000c06e00000000000",
		"another length inside":  "0300000b07e00000000000",
		"another class":          "0300000b06e00000000002",
		"a data TPDU":            "0300000b06f00000000000",
		"cookie without an end":  "0300000c07e0000000000061",
		"half a negotiation":     "0300000f0ae0000000000001000800",
		"long negotiation":       "030000130ee000000000000100090001000000",
		"trailing bytes":         "030000140fe00000000000010008000100000000",
		"missing correlation":    "030000130ee000000000000108080001000000",
		"response in a request":  "030000130ee000000000000200080001000000",
		"two cookies":            "0300001110e00000000000610d0a610d0a0000",
		"failure without reason": "030000130ee000000000000300080000000000",
	} {
		if got, err := ParseRequest(unhex(s)); err == nil {
			t.Errorf("%s: taken as the request %+v", name, got)
		}
	}
	for name, s := range map[string]string{
		"a request":              "0300000b06e00000000000",
		"half a negotiation":     "0300000f0ad0000000000002000800",
		"request in a confirm":   "030000130ed000001234000100080001000000",
		"failure without reason": "030000130ed000001234000300080000000000",
		"trailing bytes":         "030000140fd00000123400020008000100000000",
	} {
		if got, err := ParseConfirm(unhex(s)); err == nil {
			t.Errorf("%s: taken as the confirm %+v", name, got)
		}
	}
}

func TestReadX224(t *testing.T) {
	r := bytes.NewReader(append(bytes.Clone(serverCC), "more"...))
	got, err := ReadX224(r)
	if err != nil || !bytes.Equal(got, serverCC) {
		t.Fatalf("read %x, %v", got, err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "more" {
		t.Errorf("left %q", rest)
	}
	for _, s := range []string{"0300ffff", "03000004", "48545450", "030000"} {
		if _, err := ReadX224(io.MultiReader(bytes.NewReader(unhex(s)), bytes.NewReader(make([]byte, 3)))); err == nil {
			t.Errorf("%s was read", s)
		}
	}
}

func FuzzX224(f *testing.F) {
	f.Add(clientCR)
	f.Add(serverCC)
	f.Add(unhex("030000130ed000001234000300080005000000"))
	f.Add(append(unhex("0300003732e0000000000001080800 03000000 06002400"), make([]byte, 32)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		req, notRequest := ParseRequest(b)
		if plain, err := WithoutCookie(b); (err == nil) != (notRequest == nil) {
			t.Fatalf("%x without its cookie: %v", b, err)
		} else if again, err := ParseRequest(plain); notRequest == nil && (err != nil || again != ConnectionRequest{Security: req.Security}) {
			t.Fatalf("%x without its cookie is %x: %+v, %v", b, plain, again, err)
		}
		conf, notConfirm := ParseConfirm(b)
		if notRequest == nil && notConfirm == nil {
			t.Fatalf("%x is both", b)
		}
		if notRequest == nil && len(req.Cookie) > len(b) || notConfirm == nil && conf.Failure != 0 && conf.Security != 0 {
			t.Fatalf("%x: %+v, %+v", b, req, conf)
		}
		whole, err := ReadX224(bytes.NewReader(b))
		if (notRequest == nil || notConfirm == nil) && (err != nil || !bytes.Equal(whole, b)) {
			t.Fatalf("%x was taken, and read as %x, %v", b, whole, err)
		}
	})
}

func TestWithoutCookie(t *testing.T) {
	const bare = "0300001" + "3" + "0ee00000000000" + "0100080003000000"
	with := append([]byte("\x03\x00\x00\x2b\x26\xe0\x00\x00\x00\x00\x00Cookie: mstshash=kiosk\r\n"), unhex("0100080003000000")...)
	for _, b := range [][]byte{with, unhex(bare)} {
		if got, err := WithoutCookie(b); err != nil || !bytes.Equal(got, unhex(bare)) {
			t.Errorf("%x: %x, %v", b, got, err)
		}
	}
	if _, err := WithoutCookie(with[:20]); err == nil {
		t.Error("half of one is taken")
	}
}
