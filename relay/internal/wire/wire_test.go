package wire

import (
	"bytes"
	"crypto/hmac"
	"testing"
)

func TestFrames(t *testing.T) {
	var b []byte
	b = AppendPacket(b, []byte("one"))
	b = AppendControl(b, Echo, []byte("8 bytes!")...)
	b = AppendPacket(b, make([]byte, MaxPacket))
	b = AppendControl(b, Bye, []byte("ended")...)
	for _, want := range []struct {
		t    Type
		size int
	}{{Packet, 3}, {Echo, 8}, {Packet, MaxPacket}, {Bye, 5}} {
		for cut := range min(Header+want.size, 64) {
			if _, _, n, err := Next(b[:cut]); n != 0 || err != nil {
				t.Fatalf("%d bytes of a frame: %d, %v", cut, n, err)
			}
		}
		typ, body, n, err := Next(b)
		if err != nil || typ != want.t || len(body) != want.size {
			t.Fatalf("got %d of %d bytes, %v, want %+v", typ, len(body), err, want)
		}
		b = b[n:]
	}
	if len(b) != 0 {
		t.Errorf("%d bytes are left", len(b))
	}
}

func TestNoFrames(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty packet":      {0, 0},
		"long packet":       {0x40, 1},
		"empty control":     {0x80, 0},
		"long control":      {0x90, 1},
		"packet as control": {0x80, 1, 0},
	} {
		if _, _, n, err := Next(b); err == nil || n != 0 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

func TestMAC(t *testing.T) {
	base := func() [][]byte { return [][]byte{[]byte("secret"), []byte("nonce"), []byte("token")} }
	a := base()
	want := MAC(a[0], a[1], a[2], 0, 7)
	for i := range a {
		b := base()
		b[i][0] ^= 1
		if hmac.Equal(MAC(b[0], b[1], b[2], 0, 7), want) {
			t.Errorf("part %d is not covered", i)
		}
	}
	if hmac.Equal(MAC(a[0], a[1], a[2], 1, 7), want) || hmac.Equal(MAC(a[0], a[1], a[2], 0, 8), want) {
		t.Error("leg or generation is not covered")
	}
	frame := AppendProof(nil, want, 7)
	typ, body, _, err := Next(frame)
	gen, mac, ok := ReadProof(body)
	if err != nil || typ != Proof || !ok || gen != 7 || !bytes.Equal(mac, want) {
		t.Errorf("a proof came back as %d, %d, %v, %v", typ, gen, ok, err)
	}
	if _, _, ok := ReadProof(body[1:]); ok {
		t.Error("a short proof is one")
	}
}

func FuzzNext(f *testing.F) {
	f.Add(AppendPacket(nil, []byte("one")))
	f.Add(AppendControl(AppendPacket(nil, []byte("one")), Bye, []byte("ended")...))
	f.Add([]byte{0x80, 1, 0})
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		for {
			typ, body, n, err := Next(b)
			if err != nil || n == 0 {
				return
			}
			var again []byte
			if typ == Packet {
				again = AppendPacket(nil, body)
			} else {
				again = AppendControl(nil, typ, body...)
			}
			if !bytes.Equal(again, b[:n]) {
				t.Fatalf("%x came back as %x", b[:n], again)
			}
			b = b[n:]
		}
	})
}
