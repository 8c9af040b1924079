package bind

import (
	"bytes"
	"encoding/hex"
	"testing"

	"golang.zx2c4.com/wireguard/conn"
)

// rfc5769Request is the sample binding request of RFC 5769, section 2.1.
var rfc5769Request, _ = hex.DecodeString("000100582112a442b7e7a701bc34d686fa87dfae" +
	"802200105354554e207465737420636c69656e7400240004" + "6e0001ff80290008932ff9b151263b36" +
	"000600096576746a3a6836765920202000080014" + "9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2" + "80280004e57a3bcf")

func TestClassify(t *testing.T) {
	cookieIndex := uint32(0x42A41221) // STUN's magic cookie as WireGuard reads it
	for _, tt := range []struct {
		name string
		msg  []byte
		want kind
	}{
		{"initiation", initiation(1), kindInitiation},
		{"response", response(1, 2), kindResponse},
		{"cookie reply", cookie(1), kindCookie},
		{"transport", transport(1, 0), kindTransport},
		{"transport whose index is the magic cookie", transport(cookieIndex, 0), kindTransport},
		{"response whose index is the magic cookie", response(cookieIndex, 2), kindResponse},
		{"RFC 5769 request", rfc5769Request, kindSTUN},
		{"RFC 5769 request with bytes behind it", append(bytes.Clone(rfc5769Request), 0), kindSTUN},
		{"RFC 5769 request cut short", rfc5769Request[:len(rfc5769Request)-1], kindOther},
		{"smallest request", stun(1), kindSTUN},
		{"wrong cookie", append([]byte{0, 1, 0, 0, 1}, stun(1)[5:]...), kindOther},
		{"first bits set", append([]byte{0x80}, stun(1)[1:]...), kindOther},
		{"length no multiple of four", append([]byte{0, 1, 0, 1}, append(stun(1)[4:], 0, 0)...), kindOther},
		{"type 0", make([]byte, 32), kindOther},
		{"type 5", append([]byte{5}, make([]byte, 31)...), kindOther},
		{"reserved byte set", append([]byte{4, 1}, make([]byte, 30)...), kindOther},
		{"short", stun(1)[:19], kindOther},
		{"empty", nil, kindOther},
	} {
		if got := classify(tt.msg); got != tt.want {
			t.Errorf("%s is %d, want %d", tt.name, got, tt.want)
		}
	}
}

// FuzzReceive sends anything through a receiver. What WireGuard understands must
// reach it unchanged, STUN must reach the PacketConn, and nothing may reach both.
func FuzzReceive(f *testing.F) {
	for _, seed := range [][]byte{nil, initiation(1), response(2, 1), cookie(1), transport(9, 0), stun(1), rfc5769Request, transport(0x42A41221, 1)} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, known bool) {
		if len(data) > 1500 {
			return
		}
		fake := newFake()
		b := New(fake, Config{})
		p := b.AddPeer("far")
		if known {
			p.SetPath(addr(addrA))
		}
		pc := b.PacketConn()
		fns, _, err := b.Open(0)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		r := newReader(fns[0], fake.batch)
		fake.batches <- []arrival{{data, addrA}, {transport(1, 1), addrB}}
		n, err := r.read()
		if n != 2 || err != nil {
			t.Fatal(n, err)
		}
		if r.sizes[1] != len(transport(1, 1)) {
			t.Error("the next packet suffered")
		}
		buf := make([]byte, 2000)
		read := 0
		if b.diverted.Load().len > 0 {
			read, _, _ = pc.ReadFrom(buf)
		}
		wireguard := len(data) >= 4 && data[0] >= 1 && data[0] <= 4 && data[1]|data[2]|data[3] == 0
		switch {
		case r.sizes[0] == 0 && len(data) > 0:
			if wireguard {
				t.Error("a message of WireGuard's was taken away")
			}
			if !bytes.Equal(buf[:read], data) {
				t.Errorf("the PacketConn got %x", buf[:read])
			}
		case read > 0:
			t.Error("the device and the PacketConn both got it")
		case r.sizes[0] != len(data) || !bytes.Equal(r.bufs[0][:len(data)], data):
			t.Error("the device got something else")
		}
		if r.sizes[0] > 0 {
			if _, stable := r.eps[0].(*endpoint); stable != (known && wireguard && len(data) >= stunHeader) {
				t.Errorf("endpoint %T", r.eps[0])
			}
			if _, raw := r.eps[1].(*conn.StdNetEndpoint); !raw {
				t.Errorf("endpoint of an unknown address is %T", r.eps[1])
			}
		}
	})
}
