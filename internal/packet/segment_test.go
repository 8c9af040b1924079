package packet

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// withOptions is a SYN with options of TCP and a right checksum.
func withOptions(t testing.TB, flags byte, options ...byte) []byte {
	b := unhex(t, syn4)[:IPv4Header+TCPHeader]
	b = append(b, options...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[32], b[33] = byte((TCPHeader+len(options))/4)<<4, flags
	b[36], b[37] = 0, 0
	binary.BigEndian.PutUint16(b[36:], ^uint16(pseudo(b)))
	return b
}

// pseudo sums a segment with its pseudo header.
func pseudo(b []byte) uint32 {
	return Sum(b[IPv4Header:], Sum(b[12:20], TCP+uint32(len(b)-IPv4Header)))
}

func TestClampMSS(t *testing.T) {
	for _, c := range []struct {
		name    string
		flags   byte
		options []byte
		want    []byte
	}{
		{"lowered", SYN, []byte{2, 4, 0x05, 0xb4}, []byte{2, 4, 0x04, 0xd8}},
		{"answer", SYN | ACK, []byte{2, 4, 0xff, 0xff}, []byte{2, 4, 0x04, 0xd8}},
		{"behind others", SYN, []byte{1, 1, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 2, 4, 0x05, 0xb4}, []byte{1, 1, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 2, 4, 0x04, 0xd8}},
		{"at an odd place", SYN, []byte{1, 2, 4, 0x05, 0xb4, 1, 1, 1}, []byte{1, 2, 4, 0x04, 0xd8, 1, 1, 1}},
		{"low enough", SYN, []byte{2, 4, 0x04, 0xd8}, []byte{2, 4, 0x04, 0xd8}},
		{"less", SYN, []byte{2, 4, 0x02, 0x00}, []byte{2, 4, 0x02, 0x00}},
		{"nothing announced", SYN, nil, nil},
		{"no SYN", ACK, []byte{2, 4, 0x05, 0xb4}, []byte{2, 4, 0x05, 0xb4}},
		{"behind the end", SYN, []byte{0, 2, 4, 0x05, 0xb4, 0, 0, 0}, []byte{0, 2, 4, 0x05, 0xb4, 0, 0, 0}},
		{"of another length", SYN, []byte{2, 3, 0x05, 1}, []byte{2, 3, 0x05, 1}},
		{"without a length", SYN, []byte{1, 1, 1, 2}, []byte{1, 1, 1, 2}},
		{"longer than the header", SYN, []byte{1, 1, 3, 40}, []byte{1, 1, 3, 40}},
		{"of length 0", SYN, []byte{3, 0, 2, 4}, []byte{3, 0, 2, 4}},
	} {
		b := withOptions(t, c.flags, c.options...)
		ClampMSS(b, 1240)
		if !bytes.Equal(b, withOptions(t, c.flags, c.want...)) {
			t.Errorf("%s: %x", c.name, b[IPv4Header:])
		}
	}
	wrong := withOptions(t, SYN, 2, 4, 0x05, 0xb4)
	wrong[37] ^= 0x10
	if ClampMSS(wrong, 1240); Checksum(nil, pseudo(wrong)) == 0 {
		t.Error("a wrong checksum came right")
	}
}

func FuzzClampMSS(f *testing.F) {
	f.Add(withOptions(f, SYN, 2, 4, 0x05, 0xb4), uint16(1240))
	f.Add(withOptions(f, SYN, 1, 2, 4, 0x05, 0xb4, 1, 1, 1), uint16(536))
	f.Fuzz(func(t *testing.T, b []byte, most uint16) {
		var p, after Info
		if !Parse(b, &p) {
			return
		}
		out := bytes.Clone(b)
		ClampMSS(out, most)
		if !Parse(out, &after) || after != p {
			t.Errorf("%x became %x", b, out)
		}
		if bytes.Equal(out, b) {
			return
		}
		if p.Proto != TCP || p.TCPFlags&SYN == 0 {
			t.Errorf("changed, and is no SYN: %x", b)
		}
		segment := func(b []byte) uint16 {
			return Checksum(b[p.HeaderLen:p.TotalLen], Sum(b[12:20], TCP+uint32(p.TotalLen-p.HeaderLen)))
		}
		if a, b := segment(b), segment(out); a != b && a^b != 0xffff {
			t.Errorf("the checksum was off by %#x and is by %#x", a, b)
		}
	})
}
