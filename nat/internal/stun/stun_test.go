package stun

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
)

// The vectors of RFC 5769, sections 2.1 to 2.4.
const (
	vectorRequest = "\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae" +
		"\x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff" +
		"\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36" +
		"\x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20" +
		"\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2" +
		"\x80\x28\x00\x04\xe5\x7a\x3b\xcf"
	vectorIPv4 = "\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae" +
		"\x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20" +
		"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43" +
		"\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7" +
		"\x80\x28\x00\x04\xc0\x7d\x4c\x96"
	vectorIPv6 = "\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae" +
		"\x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20" +
		"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9" +
		"\x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41" +
		"\x80\x28\x00\x04\xc8\xfb\x0b\x4c"
	vectorLongTerm = "\x00\x01\x00\x60\x21\x12\xa4\x42\x78\xad\x34\x33\xc6\xad\x72\xc0\x29\xda\x41\x2e" +
		"\x00\x06\x00\x12\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9\x00\x00" +
		"\x00\x15\x00\x1cf//499k954d6OL34oL9FSTvy64sA" +
		"\x00\x14\x00\x0bexample.org\x00" +
		"\x00\x08\x00\x14\xf6\x70\x24\x65\x6d\xd6\x4a\x3e\x02\xb8\xe0\x71\x2e\x85\xc9\xa2\x8c\xa8\x96\x66"
)

func TestRFC5769(t *testing.T) {
	var names []Attr
	m, err := Parse([]byte(vectorRequest))
	if err != nil {
		t.Fatal(err)
	}
	for a := range m.All() {
		names = append(names, a)
	}
	want := []Attr{Software, 0x0024, 0x8029, Username, MessageIntegrity, Fingerprint}
	if !equal(names, want) || m.Type != BindingRequest {
		t.Errorf("type %#x, attributes %x, want %x", m.Type, names, want)
	}
	if v, ok := m.Get(Username); !ok || string(v) != "evtj:h6vY" {
		t.Errorf("username %q %v", v, ok)
	}
	for text, addr := range map[string]string{
		vectorIPv4: "192.0.2.1:32853",
		vectorIPv6: "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
	} {
		m, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got, ok := m.Mapped()
		if !ok || got.String() != addr || m.Type != BindingSuccess {
			t.Errorf("mapped %v %v, want %s", got, ok, addr)
		}
		// What we write ourselves is the same, byte for byte.
		b := New(BindingSuccess, m.ID)
		b = AddXORAddress(b, XORMappedAddress, netip.MustParseAddrPort(addr))
		if !bytes.Contains([]byte(text), b[headerSize:]) {
			t.Errorf("written %x", b[headerSize:])
		}
	}
	m, err = Parse([]byte(vectorLongTerm))
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := m.Get(Realm); string(v) != "example.org" {
		t.Errorf("realm %q", v)
	}
}

func equal(a, b []Attr) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestRefused(t *testing.T) {
	with := func(f func(b []byte) []byte) []byte { return f([]byte(vectorIPv4)) }
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":            {nil, ErrNotSTUN},
		"short header":     {[]byte(vectorIPv4)[:19], ErrNotSTUN},
		"top bits":         {with(func(b []byte) []byte { b[0] |= 0x40; return b }), ErrNotSTUN},
		"cookie":           {with(func(b []byte) []byte { b[4]++; return b }), ErrNotSTUN},
		"cut":              {[]byte(vectorIPv4)[:60], ErrMalformed},
		"more behind it":   {with(func(b []byte) []byte { return append(b, 0, 0, 0, 0) }), ErrMalformed},
		"length says more": {with(func(b []byte) []byte { b[3] += 4; return b }), ErrMalformed},
		"attribute length": {with(func(b []byte) []byte { b[23] = 0xFF; return b }), ErrMalformed},
		"changed":          {with(func(b []byte) []byte { b[43]++; return b }), ErrFingerprint},
		"fingerprint twice": {with(func(b []byte) []byte {
			return AddFingerprint(b)
		}), ErrMalformed},
		"fingerprint of 3":  {Add(New(BindingRequest, ID{}), Fingerprint, []byte{1, 2, 3}), ErrMalformed},
		"not a multiple":    {append(New(BindingRequest, ID{}), 0, 0), ErrMalformed},
		"beyond the limit":  {Add(New(BindingRequest, ID{}), Software, make([]byte, MaxSize)), ErrMalformed},
		"half an attribute": {with(func(b []byte) []byte { b = New(BindingRequest, ID{}); b[3] = 2; return append(b, 0, 0) }), ErrMalformed},
	} {
		if _, err := Parse(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestBehindIntegrity(t *testing.T) {
	b := New(BindingRequest, ID{1})
	b = Add(b, MessageIntegrity, make([]byte, 20))
	b = AddUint32(b, ChangeRequest, ChangeIP)
	b = Add(b, MessageIntegritySHA256, make([]byte, 32))
	b = Add(b, MessageIntegrity, make([]byte, 20))
	b = AddFingerprint(b)
	m, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	var got []Attr
	for a := range m.All() {
		got = append(got, a)
	}
	if want := []Attr{MessageIntegrity, MessageIntegritySHA256, Fingerprint}; !equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestAddressRefused(t *testing.T) {
	good := []byte{0, 1, 0x0D, 0x96, 192, 0, 2, 1}
	for name, c := range map[string]struct {
		value []byte
		ok    bool
	}{
		"good":        {good, true},
		"first byte":  {[]byte{9, 1, 0x0D, 0x96, 192, 0, 2, 1}, true},
		"empty":       {nil, false},
		"short":       {good[:7], false},
		"long":        {append(good[:8:8], 0), false},
		"family":      {[]byte{0, 2, 0x0D, 0x96, 192, 0, 2, 1}, false},
		"port 0":      {[]byte{0, 1, 0, 0, 192, 0, 2, 1}, false},
		"unspecified": {[]byte{0, 1, 0x0D, 0x96, 0, 0, 0, 0}, false},
		"multicast":   {[]byte{0, 1, 0x0D, 0x96, 224, 0, 0, 1}, false},
		"4 in 6":      {[]byte{0, 2, 0x0D, 0x96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 192, 0, 2, 1}, false},
	} {
		m, err := Parse(Add(New(BindingSuccess, ID{}), OtherAddress, c.value))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := m.Address(OtherAddress); ok != c.ok {
			t.Errorf("%s: %v %v", name, got, ok)
		}
	}
}

func TestCode(t *testing.T) {
	for _, c := range []struct {
		value []byte
		want  int
	}{
		{[]byte{0, 0, 4, 20}, 420},
		{[]byte{0, 0, 6, 99, 'x'}, 699},
		{[]byte{0, 0, 2, 0}, 0},
		{[]byte{0, 0, 7, 0}, 0},
		{[]byte{0, 0, 4, 100}, 0},
		{[]byte{0, 0, 4}, 0},
	} {
		m, err := Parse(Add(New(BindingError, ID{}), ErrorCode, c.value))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := m.Code(); got != c.want || ok != (c.want != 0) {
			t.Errorf("%v: %d %v, want %d", c.value, got, ok, c.want)
		}
	}
}

// FuzzParse: what is read holds together, and is the same when it is written anew.
func FuzzParse(f *testing.F) {
	for _, v := range []string{vectorRequest, vectorIPv4, vectorIPv6, vectorLongTerm} {
		f.Add([]byte(v))
	}
	b := AddUint32(New(BindingRequest, ID{7}), ChangeRequest, ChangeIP|ChangePort)
	f.Add(AddFingerprint(b))
	f.Add(AddUnknown(AddError(New(BindingError, ID{8}), 420), []Attr{2, 3, 4}))
	f.Add(AddAddress(New(BindingSuccess, ID{9}), OtherAddress, netip.MustParseAddrPort("[2001:db8::1]:3478")))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		again := New(m.Type, m.ID)
		size := 0
		for a, value := range m.All() {
			size += 4 + len(value)
			if a != Fingerprint {
				again = Add(again, a, value)
			}
		}
		if size > len(b)-headerSize {
			t.Fatalf("%d bytes of attributes in %d", size, len(b))
		}
		n, err := Parse(AddFingerprint(again))
		if err != nil && len(again)+FingerprintSize <= MaxSize {
			t.Fatalf("written anew: %v", err)
		}
		if err == nil && (n.Type != m.Type || n.ID != m.ID) {
			t.Fatal("written anew it is another")
		}
		if addr, ok := m.Mapped(); ok {
			b := AddXORAddress(New(BindingSuccess, m.ID), XORMappedAddress, addr)
			if n, err := Parse(b); err != nil || len(b) != headerSize+AddressSize(addr) {
				t.Fatal(err, len(b))
			} else if got, ok := n.Mapped(); !ok || got != addr {
				t.Fatalf("%v %v, want %v", got, ok, addr)
			}
		}
		if code, ok := m.Code(); ok && (code < 300 || code > 699) {
			t.Fatal(code)
		}
		m.Address(OtherAddress)
		if v, ok := m.Get(ChangeRequest); ok {
			if n, ok := Uint32(v); ok && n != binary.BigEndian.Uint32(v) {
				t.Fatal(n)
			}
		}
	})
}
