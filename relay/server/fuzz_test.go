package server

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/internal/queue"
	"github.com/boothwire/boothwire/relay/internal/wire"
)

// said is a connection on which that was said, and which comes in pieces.
type said struct {
	net.Conn // nil: nothing else is called
	rest     []byte
	piece    int
}

func (s *said) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.rest[:min(len(s.rest), s.piece)])
	s.rest = s.rest[n:]
	return n, nil
}

func (s *said) Close() error { return nil }

func newBare(tb testing.TB) *Server {
	tb.Helper()
	root, err := keys.OpenIdentity(keys.NewMemory(), "root")
	if err != nil {
		tb.Fatal(err)
	}
	roots, err := keys.ParseRoots("", root.Key().String())
	if err != nil {
		tb.Fatal(err)
	}
	s, err := New("r-1", keys.NewPrivateKey(), roots, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// Whatever one end says, the other hears its packets and echoes, whole, or nothing.
func FuzzForward(f *testing.F) {
	f.Add(wire.AppendPacket(wire.AppendPacket(nil, []byte("one")), []byte("two")), uint8(3))
	f.Add(wire.AppendPacket(wire.AppendControl(wire.AppendPacket(nil, []byte("a")), wire.Ping, make([]byte, 8)...), make([]byte, 1000)), uint8(255))
	f.Add(wire.AppendControl(wire.AppendControl(nil, wire.Echo, make([]byte, 8)...), wire.EchoReply, make([]byte, 8)...), uint8(1))
	f.Add(wire.AppendControl(wire.AppendPacket(nil, []byte("p")), wire.Token, []byte("a.b.c")...), uint8(9))
	f.Add(append(wire.AppendControl(nil, 99, 1, 2, 3), 0, 0), uint8(2))
	f.Add([]byte{0xff, 0xff, 1}, uint8(1))
	s := newBare(f)
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		var may [][]byte
		for rest := stream; ; {
			typ, _, n, err := wire.Next(rest)
			if n == 0 || err != nil {
				break
			}
			if typ == wire.Packet || typ == wire.Echo || typ == wire.EchoReply {
				may = append(may, rest[:n])
			}
			rest = rest[n:]
		}
		var mu sync.Mutex
		var heard []byte
		p := &pair{key: pairKey{session: "s"}, s: s}
		one := &leg{s: s, pair: p, side: 0, conn: &said{rest: stream, piece: 1 + int(piece)}}
		one.out = queue.New(s.queues, func([]byte) error { return nil })
		two := &leg{s: s, pair: p, side: 1}
		two.out = queue.New(s.queues, func(b []byte) error {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, b...)
			return nil
		})
		p.legs[0].Store(one)
		p.legs[1].Store(two)
		one.forward()
		for _, l := range []*leg{one, two} {
			l.out.Flush(time.Minute)
		}
		mu.Lock()
		defer mu.Unlock()
		for len(heard) > 0 {
			_, _, n, err := wire.Next(heard)
			if n == 0 || err != nil {
				t.Fatalf("the other end hears %.20x", heard)
			}
			i := slices.IndexFunc(may, func(frame []byte) bool { return slices.Equal(frame, heard[:n]) })
			if i < 0 {
				t.Fatalf("the other end hears %.20x, which was not for it", heard[:n])
			}
			may = slices.Delete(may, i, i+1)
			heard = heard[n:]
		}
	})
}

// Whatever a stranger says first, it is no proof.
func FuzzProof(f *testing.F) {
	s := newBare(f)
	token := &keys.Token{Session: "s", Ends: [2]keys.PublicKey{keys.NewPrivateKey().Public(), keys.NewPrivateKey().Public()}}
	f.Add(wire.AppendProof(nil, make([]byte, 32), 1), uint8(255))
	f.Add(wire.AppendPacket(nil, []byte("p")), uint8(1))
	f.Add([]byte{0x80, 41, 1}, uint8(2))
	f.Fuzz(func(t *testing.T, first []byte, piece uint8) {
		l := &leg{s: s, conn: &said{rest: first, piece: 1 + int(piece)}}
		switch code := l.prove(token, []byte("a.b.c"), make([]byte, wire.NonceSize)); code {
		case "slow", "malformed", "bad_proof":
		default:
			t.Errorf("%q", code)
		}
		if l.pair != nil || s.Stats().Legs != 0 {
			t.Error("it is a leg")
		}
	})
}
