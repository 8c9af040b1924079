package packet

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"
)

var (
	a4 = netip.MustParseAddr("10.166.0.5")
	b4 = netip.MustParseAddr("10.166.0.1")
	a6 = netip.MustParseAddr("fd00::5")
	b6 = netip.MustParseAddr("fd00::1")
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A TCP SYN and its neighbours, laid out by hand after RFC 791 and RFC 9293.
const syn4 = "4500003c1c4640004006b1e60aa600050aa60001" + "c0de0016000000010000000050020000e5770000" + "0000000000000000000000000000000000000000"

func TestParse(t *testing.T) {
	tcp4 := unhex(t, syn4)
	with := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(tcp4)) }
	options := append(append([]byte{0x46}, tcp4[1:20]...), append([]byte{1, 1, 1, 1}, tcp4[20:40]...)...)
	binary.BigEndian.PutUint16(options[2:], uint16(len(options)))
	udp4 := append(bytes.Clone(tcp4[:20]), 0x00, 0x35, 0x13, 0x88, 0, 12, 0, 0, 1, 2, 3, 4)
	udp4[9] = UDP
	binary.BigEndian.PutUint16(udp4[2:], uint16(len(udp4)))
	icmp6 := AppendEcho(nil, a6, b6, 7, 9, []byte("x"), 0)
	fragment6 := bytes.Clone(icmp6)
	fragment6[6] = ipv6Fragment

	for _, c := range []struct {
		name string
		b    []byte
		ok   bool
		want Info
	}{
		{"syn", tcp4, true, Info{Version: 4, Proto: TCP, TTL: 64, Src: a4, Dst: b4, SrcPort: 0xc0de, DstPort: 22, TCPFlags: SYN, HeaderLen: 20, TotalLen: 60, PayloadLen: 20}},
		{"padded by WireGuard", append(bytes.Clone(tcp4), 0, 0, 0, 0), true, Info{Version: 4, Proto: TCP, TTL: 64, Src: a4, Dst: b4, SrcPort: 0xc0de, DstPort: 22, TCPFlags: SYN, HeaderLen: 20, TotalLen: 60, PayloadLen: 20}},
		{"options", options, true, Info{Version: 4, Proto: TCP, TTL: 64, Src: a4, Dst: b4, SrcPort: 0xc0de, DstPort: 22, TCPFlags: SYN, HeaderLen: 24, TotalLen: 44}},
		{"udp", udp4, true, Info{Version: 4, Proto: UDP, TTL: 64, Src: a4, Dst: b4, SrcPort: 53, DstPort: 5000, HeaderLen: 20, TotalLen: 32, PayloadLen: 4}},
		{"echo 6", icmp6, true, Info{Version: 6, Proto: ICMPv6, TTL: 64, Src: a6, Dst: b6, ICMPType: EchoRequestV6, ID: 7, Seq: 9, HeaderLen: 40, TotalLen: 49, PayloadLen: 1}},
		{"first fragment", with(func(b []byte) []byte { b[6] = 0x20; return b }), true, Info{Version: 4, Proto: TCP, TTL: 64, Src: a4, Dst: b4, Fragment: true, HeaderLen: 20, TotalLen: 60, PayloadLen: 40}},
		{"later fragment", with(func(b []byte) []byte { b[6], b[7] = 0, 1; return b }), true, Info{Version: 4, Proto: TCP, TTL: 64, Src: a4, Dst: b4, Fragment: true, HeaderLen: 20, TotalLen: 60, PayloadLen: 40}},
		{"fragment 6", fragment6, true, Info{Version: 6, Proto: ipv6Fragment, TTL: 64, Src: a6, Dst: b6, Fragment: true, HeaderLen: 40, TotalLen: 49, PayloadLen: 9}},
		{"other protocol", with(func(b []byte) []byte { b[9] = 47; return b }), true, Info{Version: 4, Proto: 47, TTL: 64, Src: a4, Dst: b4, HeaderLen: 20, TotalLen: 60, PayloadLen: 40}},
		{"icmp in 6", func() []byte { b := bytes.Clone(icmp6); b[6] = ICMP; return b }(), true, Info{Version: 6, Proto: ICMP, TTL: 64, Src: a6, Dst: b6, HeaderLen: 40, TotalLen: 49, PayloadLen: 9}},
		{"empty", nil, false, Info{}},
		{"19 bytes", tcp4[:19], false, Info{}},
		{"cut", tcp4[:59], false, Info{}},
		{"version 5", with(func(b []byte) []byte { b[0] = 0x55; return b }), false, Info{}},
		{"header of 16", with(func(b []byte) []byte { b[0] = 0x44; return b }), false, Info{}},
		{"header past the end", with(func(b []byte) []byte { b[0] = 0x4f; b[3] = 59; return b[:59] }), false, Info{}},
		{"total below header", with(func(b []byte) []byte { b[3] = 19; return b }), false, Info{}},
		{"no room for tcp", with(func(b []byte) []byte { b[3] = 39; return b }), false, Info{}},
		{"tcp header of 16", with(func(b []byte) []byte { b[32] = 0x40; return b }), false, Info{}},
		{"tcp header past the end", with(func(b []byte) []byte { b[32] = 0xb0; return b }), false, Info{}},
		{"udp length 7", func() []byte { b := bytes.Clone(udp4); b[25] = 7; return b }(), false, Info{}},
		{"udp length past the end", func() []byte { b := bytes.Clone(udp4); b[25] = 13; return b }(), false, Info{}},
		{"short icmp", icmp6[:47], false, Info{}},
		{"short ipv6", icmp6[:39], false, Info{}},
	} {
		var got Info
		if ok := Parse(c.b, &got); ok != c.ok {
			t.Errorf("%s: got %v, want %v", c.name, ok, c.ok)
		} else if ok && got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

func TestEcho(t *testing.T) {
	for _, c := range []struct{ src, dst netip.Addr }{{a4, b4}, {a6, b6}} {
		for _, size := range []int{0, 100, 1279, 1280} {
			data := []byte("proof one")
			b := AppendEcho([]byte("kept"), c.src, c.dst, 0x1234, 0xfffe, data, size)
			if !bytes.HasPrefix(b, []byte("kept")) {
				t.Fatal("the slice before the packet changed")
			}
			b = b[4:]
			var p Info
			if !Parse(b, &p) || !p.IsEchoRequest() || p.IsEchoReply() {
				t.Fatalf("size %d: %+v is no echo request", size, p)
			}
			if size != 0 && len(b) != size {
				t.Errorf("got %d bytes, want %d", len(b), size)
			}
			if p.ID != 0x1234 || p.Seq != 0xfffe || p.Src != c.src || p.Dst != c.dst {
				t.Errorf("got %+v", p)
			}
			if !EchoValid(b, &p) || p.Version == 4 && Checksum(b[:20], 0) != 0 {
				t.Error("the request's checksum is wrong")
			}
			if !bytes.HasPrefix(EchoData(b, &p), data) {
				t.Errorf("data is %q", EchoData(b, &p))
			}
			if !Reply(b, &p) {
				t.Fatal("no reply")
			}
			var r Info
			if !Parse(b, &r) || !r.IsEchoReply() || r.IsEchoRequest() {
				t.Fatalf("%+v is no reply", r)
			}
			if r.Src != c.dst || r.Dst != c.src || r.ID != p.ID || r.Seq != p.Seq {
				t.Errorf("got %+v", r)
			}
			if !EchoValid(b, &r) || r.Version == 4 && Checksum(b[:20], 0) != 0 {
				t.Error("the reply's checksum is wrong")
			}
			if Reply(b, &r) {
				t.Error("a reply was answered")
			}
			b[len(b)-1] ^= 1
			if EchoValid(b, &r) {
				t.Error("a changed byte went unseen")
			}
		}
	}
	if b := AppendEcho(nil, a4, b6, 1, 1, nil, 100); b != nil {
		t.Error("mixed families gave a packet")
	}
	if b := AppendEcho(nil, a4, b4, 1, 1, nil, 65536); b != nil {
		t.Error("a packet of 65,536 bytes")
	}
}

func TestChecksum(t *testing.T) {
	// RFC 1071, section 3.
	if got := Sum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 0); got != 0xddf2 {
		t.Errorf("got %#x, want 0xddf2", got)
	}
	for n := range 70 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(255 - i*7)
		}
		var want uint32
		for i, x := range b {
			if i%2 == 0 {
				want += uint32(x) << 8
			} else {
				want += uint32(x)
			}
		}
		for want > 0xffff {
			want = want>>16 + want&0xffff
		}
		if got := Sum(b, 0); got != want {
			t.Errorf("%d bytes: got %#x, want %#x", n, got, want)
		}
	}
}

func TestHop(t *testing.T) {
	for id := range 1 << 16 {
		b := AppendEcho(nil, a4, b4, 0, uint16(id), nil, 0)
		if !Hop(b) || b[8] != 63 {
			t.Fatal("no hop")
		}
		if Checksum(b[:20], 0) != 0 {
			t.Fatalf("id %#x: the header checksum is wrong", id)
		}
	}
	for _, ttl := range []byte{0, 1} {
		b := AppendEcho(nil, a4, b4, 0, 0, nil, 0)
		b[8] = ttl
		six := AppendEcho(nil, a6, b6, 0, 0, nil, 0)
		six[7] = ttl
		if Hop(b) || Hop(six) || b[8] != ttl || six[7] != ttl {
			t.Errorf("hop limit %d went on", ttl)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	b := AppendEcho(nil, a4, b4, 1, 1, nil, 1280)
	var p Info
	if n := testing.AllocsPerRun(100, func() {
		b = AppendEcho(b[:0], a4, b4, 1, 1, nil, 1280)
		if !Parse(b, &p) || !Reply(b, &p) {
			t.Fatal("no echo")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(unhex(f, syn4))
	f.Add(AppendEcho(nil, a4, b4, 1, 2, []byte("abc"), 64))
	f.Add(AppendEcho(nil, a6, b6, 1, 2, []byte("abc"), 64))
	f.Add([]byte{0x4f, 0, 0, 60})
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Info
		before := bytes.Clone(b)
		ok := Parse(b, &p)
		if !bytes.Equal(b, before) {
			t.Fatal("Parse wrote")
		}
		if !ok {
			return
		}
		if p.TotalLen > len(b) || p.HeaderLen+p.PayloadLen > p.TotalLen || p.PayloadLen < 0 {
			t.Fatalf("lengths out of bounds: %+v", p)
		}
		if p.Fragment && (p.SrcPort != 0 || p.DstPort != 0 || p.TCPFlags != 0 || p.ICMPType != 0) {
			t.Fatalf("a fragment with ports: %+v", p)
		}
		var cut Info
		if Parse(b[:p.TotalLen-1], &cut) {
			t.Fatal("a cut packet was taken")
		}
		if Reply(b, &p) {
			var r Info
			if !Parse(b, &r) || !r.IsEchoReply() || !EchoValid(b, &r) || r.Src != p.Dst || r.Dst != p.Src {
				t.Fatalf("the reply is wrong: %+v", r)
			}
		} else if !bytes.Equal(b, before) {
			t.Fatal("Reply wrote and reported false")
		}
	})
}

func BenchmarkParse(b *testing.B) {
	packet := unhex(b, syn4)
	var p Info
	b.ReportAllocs()
	for b.Loop() {
		Parse(packet, &p)
	}
}
