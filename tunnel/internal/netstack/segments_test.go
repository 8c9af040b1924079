package netstack

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// options are a TCP segment's timestamps, as Linux and gVisor send them.
var options = []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}

// headers are those of a TCP segment from there to here, without length and checksums.
func headers(six bool, flags header.TCPFlags, seq uint32, payload int) (ip, tcp []byte) {
	tcp = make([]byte, header.TCPMinimumSize, header.TCPMinimumSize+len(options))
	header.TCP(tcp).Encode(&header.TCPFields{
		SrcPort: 1000, DstPort: 22, SeqNum: seq, AckNum: 7, WindowSize: 500, Flags: flags,
		DataOffset: uint8(header.TCPMinimumSize + len(options)),
	})
	tcp = append(tcp, options...)
	if six {
		ip = make([]byte, header.IPv6MinimumSize)
		header.IPv6(ip).Encode(&header.IPv6Fields{
			PayloadLength: uint16(len(tcp) + payload), TransportProtocol: header.TCPProtocolNumber, HopLimit: 64,
			SrcAddr: tcpip.AddrFromSlice(netip.MustParseAddr("fd66::9").AsSlice()), DstAddr: tcpip.AddrFromSlice(here6.AsSlice()),
		})
		return ip, tcp
	}
	ip = make([]byte, header.IPv4MinimumSize)
	header.IPv4(ip).Encode(&header.IPv4Fields{
		TotalLength: uint16(header.IPv4MinimumSize + len(tcp) + payload), ID: 65535, Flags: header.IPv4FlagDontFragment, TTL: 64,
		Protocol: uint8(header.TCPProtocolNumber),
		SrcAddr:  tcpip.AddrFromSlice(there.AsSlice()), DstAddr: tcpip.AddrFromSlice(here.AsSlice()),
	})
	return ip, tcp
}

// tcpPacket is one whole segment, as the wire carries it but for its checksums.
func tcpPacket(six bool, flags header.TCPFlags, seq uint32, payload []byte) []byte {
	ip, tcp := headers(six, flags, seq, len(payload))
	return slices.Concat(ip, tcp, payload)
}

func payloadOf(size int) []byte {
	b := make([]byte, size)
	_, _ = io.ReadFull(rand.NewChaCha8([32]byte{1}), b)
	return b
}

// given is what the stack gives to be cut: headers and views of odd sizes.
func given(six bool, flags header.TCPFlags, seq uint32, payload []byte, mss int) *stack.PacketBuffer {
	var data buffer.Buffer
	for rest := payload; len(rest) > 0; {
		n := min(len(rest), 1001)
		_ = data.Append(buffer.NewViewWithData(rest[:n]))
		rest = rest[n:]
	}
	ip, tcp := headers(six, flags, seq, len(payload))
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: len(ip) + len(tcp), Payload: data})
	copy(pkt.TransportHeader().Push(len(tcp)), tcp)
	copy(pkt.NetworkHeader().Push(len(ip)), ip)
	pkt.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, NeedsCsum: true, MSS: uint16(mss)}
	if six {
		pkt.GSOOptions.Type = stack.GSOTCPv6
	}
	return pkt
}

// cut passes a packet through a splitter.
func cut(t *testing.T, s *splitter, pkt *stack.PacketBuffer) (out [][]byte) {
	t.Helper()
	s.start(pkt)
	for want := s.segments(); want > 0; want-- {
		if got := s.segments(); got != want {
			t.Fatalf("%d segments are left, want %d", got, want)
		}
		b := make([]byte, 1500)
		out = append(out, b[:s.next(b)])
	}
	if s.pkt != nil || s.segments() != 0 {
		t.Fatal("the splitter is not done")
	}
	return out
}

func TestSplitAndMerge(t *testing.T) {
	const mss = 1000
	var s splitter
	for _, six := range []bool{false, true} {
		for _, size := range []int{0, 1, mss - 1, mss, mss + 1, 7*mss - 1, 59 * mss} {
			payload := payloadOf(size)
			const seq = 1<<32 - 1500 // it wraps
			flags := header.TCPFlags(header.TCPFlagAck | header.TCPFlagPsh)
			out := cut(t, &s, given(six, flags, seq, payload, mss))
			if want := max(1, (size+mss-1)/mss); len(out) != want {
				t.Fatalf("%d bytes in %d segments, want %d", size, len(out), want)
			}
			var together []byte
			for i, b := range out {
				checkSegment(t, b, six)
				ip, hsize, _ := segment(b)
				if size == 0 {
					hsize = len(b)
					ip = hsize - header.TCPMinimumSize - len(options)
				}
				tcp := header.TCP(b[ip:])
				if got, want := tcp.SequenceNumber(), seq+uint32(i*mss); got != want {
					t.Errorf("segment %d has sequence number %d, want %d", i, got, want)
				}
				if last := i == len(out)-1; tcp.Flags().Contains(header.TCPFlagPsh) != last || !tcp.Flags().Contains(header.TCPFlagAck) {
					t.Errorf("segment %d of %d has flags %v", i, len(out), tcp.Flags())
				}
				if !six && header.IPv4(b).ID() != uint16(i-1) {
					t.Errorf("segment %d has ID %d", i, header.IPv4(b).ID())
				}
				together = append(together, b[hsize:]...)
			}
			if !bytes.Equal(together, payload) {
				t.Error("the payload is another one")
			}
			// Merged again they are what they were.
			n, length := follow(out, 0)
			if n != len(out) {
				t.Errorf("%d of %d segments follow each other", n, len(out))
			}
			v := merge(out, 0, length)
			got := v.AsSlice()
			ip, tcp := headers(six, flags, seq, size)
			if len(got) != len(ip)+len(tcp)+size || !bytes.HasSuffix(got, payload) || !sameHeaders(got, slices.Concat(ip, tcp)) {
				t.Errorf("%d bytes merged from %d are\n%x, want\n%x", len(got), size, got[:72], slices.Concat(ip, tcp))
			}
			v.Release()
		}
	}
}

// sameHeaders compares headers but for their checksums.
func sameHeaders(got, want []byte) bool {
	got, want = slices.Clone(got[:len(want)]), slices.Clone(want)
	for _, b := range [][]byte{got, want} {
		tcp := b[len(b)-header.TCPMinimumSize-len(options):]
		clear(tcp[16:18])
		if b[0]>>4 == 4 {
			clear(b[10:12])
		}
	}
	return bytes.Equal(got, want)
}

// checkSegment checks lengths and checksums as a receiver does.
func checkSegment(t *testing.T, b []byte, six bool) {
	t.Helper()
	var src, dst tcpip.Address
	var tcp header.TCP
	if six {
		ip := header.IPv6(b)
		if !ip.IsValid(len(b)) || int(ip.PayloadLength()) != len(b)-header.IPv6MinimumSize {
			t.Error("invalid IPv6 header")
		}
		src, dst, tcp = ip.SourceAddress(), ip.DestinationAddress(), b[header.IPv6MinimumSize:]
	} else {
		ip := header.IPv4(b)
		if !ip.IsValid(len(b)) || !ip.IsChecksumValid() || int(ip.TotalLength()) != len(b) {
			t.Error("invalid IPv4 header")
		}
		src, dst, tcp = ip.SourceAddress(), ip.DestinationAddress(), b[header.IPv4MinimumSize:]
	}
	data := tcp[tcp.DataOffset():]
	if !tcp.IsChecksumValid(src, dst, checksum.Checksum(data, 0), uint16(len(data))) {
		t.Error("invalid TCP checksum")
	}
}

// A packet that no checksum is left to do for goes as it is; one that does not fit goes
// nowhere, and the next one is not harmed.
func TestSplitterLeavesOthersAlone(t *testing.T) {
	var s splitter
	payload := payloadOf(1200)
	pkt := given(false, header.TCPFlagAck, 1, payload, 500)
	pkt.GSOOptions = stack.GSO{}
	out := cut(t, &s, pkt)
	if want := tcpPacket(false, header.TCPFlagAck, 1, payload); len(out) != 1 || !bytes.Equal(out[0], want) {
		t.Errorf("%d packets", len(out))
	}
	for _, mss := range []int{0, 1400} {
		s.start(given(false, header.TCPFlagAck, 1, payload, mss))
		if n := s.next(make([]byte, 100)); n != 0 || s.pkt != nil {
			t.Errorf("%d bytes into a short buffer", n)
		}
	}
	if n := s.next(make([]byte, 1500)); n != 0 {
		t.Errorf("%d bytes of nothing", n)
	}
	if out := cut(t, &s, given(false, header.TCPFlagAck, 1, payload, 500)); len(out) != 3 {
		t.Errorf("%d segments after that", len(out))
	}
}

func TestFollow(t *testing.T) {
	ack, psh := header.TCPFlags(header.TCPFlagAck), header.TCPFlags(header.TCPFlagAck|header.TCPFlagPsh)
	p := payloadOf(100)
	first := tcpPacket(false, ack, 1, p)
	six := tcpPacket(true, ack, 1, p)
	second := func(change func(b []byte)) []byte {
		b := tcpPacket(false, ack, 101, p)
		change(b)
		return b
	}
	second6 := func(change func(b []byte)) []byte {
		b := tcpPacket(true, ack, 101, p)
		change(b)
		return b
	}
	for _, tt := range []struct {
		name string
		bufs [][]byte
		want int
	}{
		{"one", [][]byte{first}, 1},
		{"two", [][]byte{first, second(func([]byte) {})}, 2},
		{"two of IPv6", [][]byte{six, second6(func([]byte) {})}, 2},
		{"a shorter last", [][]byte{first, tcpPacket(false, ack, 101, p[:50]), tcpPacket(false, ack, 151, p[:50])}, 2},
		{"a longer one", [][]byte{first, tcpPacket(false, ack, 101, payloadOf(101))}, 1},
		{"a push", [][]byte{first, tcpPacket(false, psh, 101, p), tcpPacket(false, ack, 201, p)}, 2},
		{"after a push", [][]byte{tcpPacket(false, psh, 1, p), second(func([]byte) {})}, 1},
		{"an end", [][]byte{first, tcpPacket(false, ack|header.TCPFlagFin, 101, p)}, 1},
		{"a reset", [][]byte{first, tcpPacket(false, ack|header.TCPFlagRst, 101, p)}, 1},
		{"without data", [][]byte{first, tcpPacket(false, ack, 101, nil)}, 1},
		{"after one without data", [][]byte{tcpPacket(false, ack, 1, nil), tcpPacket(false, ack, 1, p)}, 1},
		{"a gap", [][]byte{first, tcpPacket(false, ack, 102, p)}, 1},
		{"the same again", [][]byte{first, first}, 1},
		{"both families", [][]byte{first, second6(func([]byte) {})}, 1},
		{"another source", [][]byte{first, second(func(b []byte) { b[15]++ })}, 1},
		{"another source of IPv6", [][]byte{six, second6(func(b []byte) { b[23]++ })}, 1},
		{"another destination of IPv6", [][]byte{six, second6(func(b []byte) { b[39]++ })}, 1},
		{"another flow label", [][]byte{six, second6(func(b []byte) { b[3]++ })}, 1},
		{"another hop limit", [][]byte{six, second6(func(b []byte) { b[7]++ })}, 1},
		{"another class", [][]byte{first, second(func(b []byte) { b[1]++ })}, 1},
		{"another TTL", [][]byte{first, second(func(b []byte) { b[8]++ })}, 1},
		{"another port", [][]byte{first, second(func(b []byte) { b[21]++ })}, 1},
		{"another acknowledgement", [][]byte{first, second(func(b []byte) { b[31]++ })}, 1},
		{"another window", [][]byte{first, second(func(b []byte) { b[35]++ })}, 1},
		{"another time", [][]byte{first, second(func(b []byte) { b[47]++ })}, 1},
		{"other options", [][]byte{first, second(func(b []byte) { b[32] = 7 << 4 })}, 1},
		{"other identification and checksums", [][]byte{first, second(func(b []byte) { b[4]++; b[10]++; b[36]++ })}, 2},
		{"a fragment", [][]byte{first, second(func(b []byte) { b[6] |= 0x20 })}, 1},
		{"a later fragment", [][]byte{first, second(func(b []byte) { b[7]++ })}, 1},
		{"IP options", [][]byte{first, second(func(b []byte) { b[0]++ })}, 1},
		{"UDP", [][]byte{first, second(func(b []byte) { b[9] = 17 })}, 1},
		{"a wrong length", [][]byte{first, second(func(b []byte) { b[3]++ })}, 1},
		{"a wrong length of IPv6", [][]byte{six, second6(func(b []byte) { b[5]++ })}, 1},
		{"a header beyond the end", [][]byte{first, second(func(b []byte) { b[32] = 0xf0 })[:60]}, 1},
		{"a short header", [][]byte{first, second(func(b []byte) { b[32] = 4 << 4 })}, 1},
		{"nonsense", [][]byte{{0x45}, {0x60}, {}}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, length := follow(tt.bufs, 0)
			if n != tt.want {
				t.Errorf("%d follow each other, want %d", n, tt.want)
			}
			v := merge(tt.bufs[:n], 0, length)
			defer v.Release()
			if v.Size() != length {
				t.Errorf("merged %d bytes, want %d", v.Size(), length)
			}
		})
	}
	var many [][]byte
	p = payloadOf(1000)
	for i := range idealBatch {
		many = append(many, tcpPacket(false, ack, uint32(i*1000), p))
	}
	if n, length := follow(many, 0); n != 65 || length != 20+32+65*1000 {
		t.Errorf("%d segments of 1,000 make %d bytes", n, length)
	}
}

// FuzzFollow gives two packets of any kind behind one that is well-formed.
func FuzzFollow(f *testing.F) {
	ack := header.TCPFlags(header.TCPFlagAck)
	for _, six := range []bool{false, true} {
		f.Add(six, tcpPacket(six, ack, 101, payloadOf(100)), tcpPacket(six, ack, 201, payloadOf(100)))
		f.Add(six, tcpPacket(!six, ack, 101, payloadOf(100)), tcpPacket(six, ack, 101, nil))
	}
	f.Add(false, []byte{0x45}, []byte{0x60})
	f.Fuzz(func(t *testing.T, six bool, a, b []byte) {
		for _, bufs := range [][][]byte{{tcpPacket(six, ack, 1, payloadOf(100)), a, b}, {a, b}} {
			if len(a) == 0 || len(b) == 0 || len(a) > 65535 || len(b) > 65535 {
				return
			}
			n, length := follow(bufs, 0)
			sum := 0
			for _, p := range bufs[:n] {
				sum += len(p)
			}
			if n < 1 || n > len(bufs) || length > sum || n > 1 && length > mergedMax {
				t.Fatalf("%d packets of %d bytes make %d", n, sum, length)
			}
			v := merge(bufs[:n], 0, length)
			if v.Size() != length {
				t.Fatalf("merged %d bytes, want %d", v.Size(), length)
			}
			if _, _, ok := segment(v.AsSlice()); n > 1 && !ok {
				t.Fatalf("merged into %x", v.AsSlice()[:60])
			}
			if n > 1 && v.AsSlice()[0]>>4 == 4 && int(binary.BigEndian.Uint16(v.AsSlice()[2:])) != length {
				t.Fatal("a wrong total length")
			}
			v.Release()
		}
	})
}
