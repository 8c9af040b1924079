package rdcleanpath

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// The connection PDUs that a browser's client and an RDP server sent.
var (
	clientCR = unhex("0300002b26e00000000000436f6f6b69653a206d737473686173683d6b696f736b0d0a0100080001000000")
	serverCC = unhex("030000130ed000001234000201080001000000")
)

// The encodings follow the ASN.1 of package doc by hand.
func TestGolden(t *testing.T) {
	const version = "a00402020d3e"
	for name, c := range map[string]struct {
		pdu  PDU
		want string
	}{
		"nothing":  {PDU{}, "3006" + version},
		"text":     {PDU{Destination: "d", ProxyAuth: "é"}, "3011" + version + "a2030c0164" + "a3040c02c3a9"},
		"all text": {PDU{ServerAuth: "s", Blob: "b", Server: "a"}, "3015" + version + "a4030c0173" + "a5030c0162" + "a9030c0161"},
		"request":  {PDU{X224: clientCR}, "3035" + version + "a62d042b" + hex.EncodeToString(clientCR)},
		"response": {PDU{X224: serverCC, Chain: [][]byte{{1}, {2, 3}}}, "3028" + version + "a6150413" + hex.EncodeToString(serverCC) + "a709" + "3007" + "040101" + "04020203"},
		"refusal":  {PDU{Error: &Error{Kind: General, HTTP: 404}}, "3015" + version + "a10d300b" + "a003020101" + "a10402020194"},
		"alert":    {PDU{Error: &Error{Kind: General, WSA: 10060, Alert: 42}}, "301a" + version + "a1123010" + "a003020101" + "a2040202274c" + "a30302012a"},
	} {
		b, err := c.pdu.Append(nil)
		if err != nil || hex.EncodeToString(b) != c.want {
			t.Errorf("%s: %x, %v, want %s", name, b, err, c.want)
			continue
		}
		got, err := Parse(b)
		if err != nil || !reflect.DeepEqual(*got, c.pdu) {
			t.Errorf("%s came back as %#v, %v", name, got, err)
		}
	}
}

func TestNoPDU(t *testing.T) {
	for name, s := range map[string]string{
		"empty":                  "",
		"no version":             "3005a2030c0164",
		"another version":        "3006a00402020d3f",
		"negative version":       "3006a0040202f2c2",
		"long form of a length":  "308106a00402020d3e",
		"indefinite length":      "3080a00402020d3e0000",
		"long integer":           "3007a0050203000d3e",
		"trailing bytes":         "3006a00402020d3e00",
		"unknown field":          "300ba00402020d3ea8030c0164",
		"twice":                  "3010a00402020d3ea2030c0164a2030c0164",
		"out of order":           "3010a00402020d3ea3030c0164a2030c0164",
		"empty text":             "300aa00402020d3ea2020c00",
		"implicit tag":           "3009a00402020d3e820164",
		"another string":         "300ba00402020d3ea203130164",
		"no UTF-8":               "300ba00402020d3ea2030c01ff",
		"two values in a field":  "300ea00402020d3ea2060c01640c0164",
		"empty certificate":      "300ca00402020d3ea70430020400",
		"empty chain":            "300aa00402020d3ea7023000",
		"nine certificates":      "3025a00402020d3ea71d301b" + strings.Repeat("040101", 9),
		"error of no kind":       "300da00402020d3ea1053003020101",
		"error, trailing bytes":  "3011a00402020d3ea1093007a0030201010500",
		"error, zero":            "300fa00402020d3ea1073005a003020100",
		"cut":                    "3006a00402020d",
		"length beyond the data": "3007a00402020d3e",
	} {
		if p, err := Parse(unhex(s)); err == nil {
			t.Errorf("%s: taken as %v", name, p)
		}
	}
}

func TestRead(t *testing.T) {
	p := PDU{Destination: strings.Repeat("d", 300), ProxyAuth: "code", X224: clientCR}
	b, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(append(b, "more"...))
	got, err := Read(iotest.OneByteReader(r))
	if err != nil || !reflect.DeepEqual(*got, p) {
		t.Fatalf("read %v, %v", got, err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "more" {
		t.Errorf("left %q", rest)
	}
	if _, err := Read(bytes.NewReader(b[:len(b)-1])); err == nil {
		t.Error("a cut PDU was read")
	}
	for _, long := range []string{"3083010000", "3082ffff", "30840fffffff", "4745542f"} {
		if _, err := Read(io.MultiReader(bytes.NewReader(unhex(long)), zeros{})); err == nil {
			t.Errorf("%s was read", long)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestTooLong(t *testing.T) {
	p := PDU{Blob: strings.Repeat("b", MaxSize)}
	if _, err := p.Append(nil); err == nil {
		t.Error("a PDU that nobody would read was written")
	}
}

func TestSecretStaysInside(t *testing.T) {
	p := &PDU{ProxyAuth: "hush", Error: &Error{Kind: General}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if s := fmt.Sprintf(verb+" "+verb, p, *p); strings.Contains(s, "hush") || strings.Contains(s, hex.EncodeToString([]byte("hush"))) {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}

// What is taken has one encoding.
func FuzzParse(f *testing.F) {
	for _, p := range []PDU{
		{Destination: "d", ProxyAuth: "code", X224: clientCR},
		{X224: serverCC, Chain: [][]byte{{1}, {2, 3}}, Server: "10.166.0.5:3389"},
		{Error: &Error{Kind: Negotiation, HTTP: 403, WSA: 10061, Alert: 42}, X224: serverCC},
	} {
		b, err := p.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		out, err := p.Append(nil)
		if err != nil || !bytes.Equal(out, b) {
			t.Fatalf("%x was taken as %v and written as %x, %v", b, p, out, err)
		}
		if q, err := Read(bytes.NewReader(b)); err != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("parsed as %v, read as %v, %v", p, q, err)
		}
	})
}
