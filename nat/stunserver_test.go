package nat

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/nat/internal/stun"
)

func views(addrs ...string) []vantage {
	var list []netip.AddrPort
	for _, a := range addrs {
		list = append(list, netip.MustParseAddrPort(a))
	}
	return vantages(list)
}

var client4 = netip.MustParseAddrPort("203.0.113.5:4000")

func request(add ...func([]byte) []byte) []byte {
	b := stun.New(stun.BindingRequest, stun.ID{1, 2, 3})
	for _, f := range add {
		b = f(b)
	}
	return b
}

func with(a stun.Attr, value ...byte) func([]byte) []byte {
	return func(b []byte) []byte { return stun.Add(b, a, value) }
}

func attrs(m stun.Message) (list []stun.Attr) {
	for a := range m.All() {
		list = append(list, a)
	}
	return list
}

func TestAnswer(t *testing.T) {
	const (
		mapped = stun.XORMappedAddress
		finger = stun.Fingerprint
	)
	success, failure := stun.BindingSuccess, stun.BindingError
	for _, c := range []struct {
		name  string
		req   []byte
		alt   bool
		typ   uint16
		attrs []stun.Attr
		via   int
		delay time.Duration
	}{
		{name: "bare", req: request(), typ: success, attrs: []stun.Attr{mapped, finger}},
		{name: "alternates", alt: true, req: request(), typ: success, attrs: []stun.Attr{mapped, stun.OtherAddress, stun.ResponseOrigin, finger}},
		{name: "the other port", alt: true, req: request(with(stun.ChangeRequest, 0, 0, 0, 2)), typ: success, via: 1,
			attrs: []stun.Attr{mapped, stun.OtherAddress, stun.ResponseOrigin, finger}},
		{name: "the other address", alt: true, req: request(with(stun.ChangeRequest, 0, 0, 0, 4)), typ: success, via: 2,
			attrs: []stun.Attr{mapped, stun.OtherAddress, stun.ResponseOrigin, finger}},
		{name: "both", alt: true, req: request(with(stun.ChangeRequest, 0xFF, 0xFF, 0xFF, 0xFF)), typ: success, via: 3,
			attrs: []stun.Attr{mapped, stun.OtherAddress, stun.ResponseOrigin, finger}},
		{name: "the first change counts", alt: true, req: request(with(stun.ChangeRequest, 0, 0, 0, 2), with(stun.ChangeRequest, 0, 0, 0, 4)), typ: success, via: 1,
			attrs: []stun.Attr{mapped, stun.OtherAddress, stun.ResponseOrigin, finger}},
		{name: "no alternates to change to", req: request(with(stun.ChangeRequest, 0, 0, 0, 2)), typ: failure, attrs: []stun.Attr{stun.ErrorCode, stun.UnknownAttributes, finger}},
		{name: "a change of 3 bytes", alt: true, req: request(with(stun.ChangeRequest, 0, 0, 2)), typ: failure, attrs: []stun.Attr{stun.ErrorCode, finger}},
		{name: "padding", alt: true, req: request(with(stun.Padding, 1)), typ: failure, attrs: []stun.Attr{stun.ErrorCode, stun.UnknownAttributes, finger}},
		{name: "response port", alt: true, req: request(with(stun.ResponsePort, 0, 1, 0, 0)), typ: failure, attrs: []stun.Attr{stun.ErrorCode, stun.UnknownAttributes, finger}},
		{name: "software is optional", req: request(with(stun.Software, 'x')), typ: success, attrs: []stun.Attr{mapped, finger}},
		{name: "credentials are ignored", req: request(with(stun.Username, 'x'), with(stun.MessageIntegrity, make([]byte, 20)...)), typ: success, attrs: []stun.Attr{mapped, finger}},
		{name: "behind integrity", req: request(with(stun.MessageIntegrity, make([]byte, 20)...), with(0x7FFF)), typ: success, attrs: []stun.Attr{mapped, finger}},
		{name: "delay", req: request(with(attrDelayedResponse, 0, 0, 0x3A, 0x98)), typ: success, delay: 15 * time.Second, attrs: []stun.Attr{mapped, attrDelayedResponse, finger}},
		{name: "the longest delay", req: request(with(attrDelayedResponse, 0, 4, 0x93, 0xE0)), typ: success, delay: 300 * time.Second, attrs: []stun.Attr{mapped, attrDelayedResponse, finger}},
		{name: "too long a delay", req: request(with(attrDelayedResponse, 0, 4, 0x93, 0xE1)), typ: success, attrs: []stun.Attr{mapped, attrDelayedResponse, finger}},
		{name: "no delay", req: request(with(attrDelayedResponse, 0, 0, 0, 0)), typ: success, attrs: []stun.Attr{mapped, attrDelayedResponse, finger}},
		{name: "a delay of 2 bytes", req: request(with(attrDelayedResponse, 0, 0)), typ: failure, attrs: []stun.Attr{stun.ErrorCode, finger}},
		{name: "indication", req: stun.New(0x0011, stun.ID{1})},
		{name: "response", req: stun.New(stun.BindingSuccess, stun.ID{1})},
		{name: "allocate", req: stun.New(0x0003, stun.ID{1})},
		{name: "empty"},
		{name: "RFC 3489", req: make([]byte, 20)},
		{name: "trailing", req: append(request(), 0, 0, 0, 0)},
		{name: "a wrong fingerprint", req: request(with(stun.Fingerprint, 1, 2, 3, 4))},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := views("192.0.2.1:3478")[0]
			if c.alt {
				v = views(square()...)[0]
			}
			r := v.answer(c.req, client4)
			if (r.reply != nil) != (c.typ != 0) {
				t.Fatalf("reply %x", r.reply)
			}
			if r.reply == nil {
				return
			}
			m, err := stun.Parse(r.reply)
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != c.typ || m.ID != r.id || !slices.Equal(attrs(m), c.attrs) || r.via != c.via || r.delay != c.delay {
				t.Errorf("type %#x, attributes %x, via %d, delay %v", m.Type, attrs(m), r.via, r.delay)
			}
			if got, ok := m.Mapped(); c.typ == success && (!ok || got != client4) {
				t.Errorf("mapped %v", got)
			}
			if c.alt && c.typ == success {
				other, _ := m.Address(stun.OtherAddress)
				origin, _ := m.Address(stun.ResponseOrigin)
				if other.String() != "192.0.2.2:3479" || origin.String() != square()[c.via] {
					t.Errorf("other %v, origin %v", other, origin)
				}
			}
			if value, ok := m.Get(attrDelayedResponse); ok {
				if n, _ := stun.Uint32(value); time.Duration(n)*time.Millisecond != c.delay {
					t.Errorf("%d ms", n)
				}
			}
		})
	}
}

// The answer to 420 lists what was not understood.
func TestUnknownAttributes(t *testing.T) {
	m, err := stun.Parse(views("192.0.2.1:3478")[0].answer(request(with(0x7FFF), with(0x8FFF), with(0x0026)), client4).reply)
	if err != nil {
		t.Fatal(err)
	}
	code, _ := m.Code()
	if list, _ := m.Get(stun.UnknownAttributes); code != 420 || !bytes.Equal(list, []byte{0x7F, 0xFF, 0x00, 0x26}) {
		t.Errorf("%d %x", code, list)
	}
}

func TestUnanswerable(t *testing.T) {
	v := views("192.0.2.1:3478")[0]
	for _, from := range []string{"203.0.113.5:0", "0.0.0.0:4000", "224.0.0.1:4000", "255.255.255.255:4000", "[::]:4000", "[ff02::1]:4000"} {
		if r := v.answer(request(), netip.MustParseAddrPort(from)); r.reply != nil {
			t.Errorf("%s is answered", from)
		}
	}
	if r := v.answer(request(), netip.AddrPort{}); r.reply != nil {
		t.Error("nobody is answered")
	}
}

func TestVantages(t *testing.T) {
	six := []string{"[2001:db8::1]:3478", "[2001:db8::1]:3479", "[2001:db8::2]:3478", "[2001:db8::2]:3479"}
	for _, c := range []struct {
		name  string
		addrs []string
		want  int
	}{
		{"square", square(), 4},
		{"any order", []string{square()[3], square()[0], square()[2], square()[1]}, 4},
		{"both families", append(square(), six...), 8},
		{"one", square()[:1], 0},
		{"three", square()[:3], 0},
		{"four ports", []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.1:4"}, 0},
		{"four addresses", []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1"}, 0},
		{"three ports", []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "192.0.2.2:3"}, 0},
		{"five", append(square(), "192.0.2.3:3478"), 0},
		{"wildcards", []string{"0.0.0.0:1", "0.0.0.0:2", "0.0.0.0:3", "0.0.0.0:4"}, 0},
	} {
		n := 0
		for i, v := range views(c.addrs...) {
			if v.index != i || v.corners[0].index != i {
				t.Errorf("%s: %d is %+v", c.name, i, v)
			}
			if !v.alternates {
				continue
			}
			n++
			self := v.corners[0].addr
			for flags, corner := range v.corners {
				if corner.addr != netip.MustParseAddrPort(c.addrs[corner.index]) ||
					(corner.addr.Port() != self.Port()) != (flags&1 != 0) || (corner.addr.Addr() != self.Addr()) != (flags&2 != 0) {
					t.Errorf("%s: %d: %d is %v", c.name, i, flags, corner)
				}
			}
		}
		if n != c.want {
			t.Errorf("%s: %d have alternates, want %d", c.name, n, c.want)
		}
	}
}

func TestLimiter(t *testing.T) {
	now := time.Now()
	l := newLimiter(now)
	a := sourceOf(netip.MustParseAddr("192.0.2.1"))
	count := func(n int) (allowed int) {
		for range n {
			if l.allow(a, now) {
				allowed++
			}
		}
		return allowed
	}
	if got := count(1000); got != limitBurst {
		t.Errorf("%d at once", got)
	}
	now = now.Add(time.Second)
	if got := count(1000); got != limitRate {
		t.Errorf("%d after a second", got)
	}
	now = now.Add(time.Hour)
	if got := count(1000); got != limitBurst {
		t.Errorf("%d after an hour", got)
	}
	if sourceOf(netip.MustParseAddr("2001:db8::1")) != sourceOf(netip.MustParseAddr("2001:db8::ffff:1")) {
		t.Error("one /64 is two sources")
	}
	if sourceOf(netip.MustParseAddr("fe80::1%eth0")) != sourceOf(netip.MustParseAddr("fe80::2")) {
		t.Error("a zone makes a source")
	}
}

// A flood of forged sources leaves others alone.
func TestLimiterFlood(t *testing.T) {
	now := time.Now()
	l := newLimiter(now)
	for i := range 1 << 16 {
		l.allow(sourceOf(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})), now)
	}
	refused := 0
	for i := range 256 {
		if !l.allow(sourceOf(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})), now) {
			refused++
		}
	}
	if refused > 0 || len(l.paid) != limitSlots {
		t.Errorf("%d of 256 refused", refused)
	}
}

// FuzzAnswer: whatever comes is answered rightly or not at all, and never by much.
func FuzzAnswer(f *testing.F) {
	f.Add(request(), true, false)
	f.Add(request(), true, true) // where all of the answer does not fit
	f.Add(request(with(stun.ChangeRequest, 0, 0, 0, 6)), true, true)
	f.Add(request(with(attrDelayedResponse, 0, 0, 1, 0), with(stun.ChangeRequest, 0, 0, 0, 2)), true, false)
	f.Add(stun.AddFingerprint(request(with(attrDelayedResponse, 0, 0, 1, 0))), false, true)
	f.Add(request(with(1), with(2), with(3), with(4), with(5)), false, false)
	f.Add(stun.New(stun.BindingSuccess, stun.ID{}), false, false)
	one, four := views("192.0.2.1:3478"), views(square()...)
	six := views("[2001:db8::1]:3478", "[2001:db8::1]:3479", "[2001:db8::2]:3478", "[2001:db8::2]:3479")
	f.Fuzz(func(t *testing.T, b []byte, alternates, ipv6 bool) {
		v, from, headers := one, client4, 28
		if alternates {
			v = four
		}
		if ipv6 {
			from, headers = netip.MustParseAddrPort("[2001:db8::99]:4000"), 48
			if alternates {
				v = six
			}
		}
		before := bytes.Clone(b)
		r := v[0].answer(b, from)
		if !bytes.Equal(b, before) {
			t.Fatal("the datagram was written to")
		}
		if r.reply == nil {
			if r.delay != 0 || r.now != nil {
				t.Fatalf("%+v", r)
			}
			return
		}
		if r.delay < 0 || r.delay > delayMost || r.via < 0 || r.via >= len(v) || (r.delay > 0) != (r.now != nil) {
			t.Fatalf("%+v", r)
		}
		req, err := stun.Parse(b)
		if err != nil || req.Type != stun.BindingRequest {
			t.Fatalf("answered: %v", err)
		}
		for _, reply := range [][]byte{r.reply, r.now} {
			if reply == nil {
				continue
			}
			m, err := stun.Parse(reply)
			if err != nil || m.ID != req.ID || (m.Type != stun.BindingSuccess && m.Type != stun.BindingError) {
				t.Fatalf("%x: %v", reply, err)
			}
			if len(reply)+headers > 2*(len(b)+headers) {
				t.Fatalf("%d bytes for %d", len(reply), len(b))
			}
			if got, ok := m.Mapped(); m.Type == stun.BindingSuccess && (!ok || got != from) {
				t.Fatalf("mapped %v", got)
			}
		}
	})
}

// On real sockets, with a probe of the host itself.
func TestServeLoopback(t *testing.T) {
	defer leaktest.None(t)
	var conns []net.PacketConn
	first := listen(t, "127.0.0.1:0")
	second := listen(t, "127.0.0.1:0")
	conns = append(conns, first, second)
	for _, c := range []net.PacketConn{first, second} {
		d, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2), Port: int(addrOf(c).Port())})
		if err != nil {
			t.Skipf("no second loopback address with this port: %v", err)
		}
		defer d.Close()
		conns = append(conns, d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ServeSTUN(ctx, conns...) }()
	sock := listen(t, "127.0.0.1:0")
	r, err := Probe(t.Context(), sock, []string{addrOf(first).String(), "[::1]:9"})
	if err != nil {
		t.Fatal(err)
	}
	want := Family{Works: Yes, NAT: No, Local: addrOf(sock), Public: addrOf(sock), Mapping: Open, Filtering: Open}
	if r.IPv4 != want || r.UDPBlocked != No || r.IPv6.Works != NotChecked {
		t.Errorf("%+v", r)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ServeSTUN: %v", err)
	}
	// The sockets are open and can be served again; a closed one ends it.
	go func() { done <- ServeSTUN(t.Context(), conns...) }()
	if r, err := Probe(t.Context(), sock, []string{addrOf(first).String()}); err != nil || r.IPv4.Works != Yes {
		t.Errorf("again: %+v %v", r, err)
	}
	conns[3].Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	conns[2].Close()
	first.Close()
	second.Close()
	sock.Close()
	if _, err := Probe(t.Context(), sock, []string{"127.0.0.1:9"}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed socket: %v", err)
	}
	if err := ServeSTUN(t.Context()); err == nil {
		t.Error("nothing is served")
	}
	if err := ServeSTUN(t.Context(), nil); err == nil {
		t.Error("nil is served")
	}
}

// The server's sockets keep the limits together, and answer again afterwards.
func TestServeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(nil)
		defer n.serve(t, t.Context(), square()...)()
		sock := n.sock("203.0.113.5:4000")
		flood := func() (answers int) {
			for i := range 400 {
				to := netip.MustParseAddrPort(square()[i%4])
				if _, err := sock.WriteTo(request(), net.UDPAddrFromAddrPort(to)); err != nil {
					t.Fatal(err)
				}
				if i%50 == 49 {
					time.Sleep(4 * time.Millisecond) // the sockets' queues hold 256
					synctest.Wait()
				}
			}
			time.Sleep(time.Second)
			synctest.Wait()
			for len(sock.queue) > 0 {
				<-sock.queue
				answers++
			}
			return answers
		}
		if got := flood(); got < limitBurst || got > limitBurst+5 {
			t.Errorf("%d answers", got)
		}
		time.Sleep(time.Minute)
		if got := flood(); got < limitBurst || got > limitBurst+5 {
			t.Errorf("%d answers later", got)
		}
	})
}
