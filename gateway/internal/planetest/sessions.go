package planetest

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/packet"
)

// open: both ends shake hands, the node says so and answers their echoes, and the
// operator reaches what was granted to him.
func open(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p := w.pair(1)
	w.eventually("the device's handshake and proof", func() bool {
		handshook, proved := w.calls(p.ID)
		return handshook > 0 && proved == 1
	})
	p.passes("UDP both ways")
	mark := p.device.mark()
	request := echoFrom(p.operator.address, p.device.address, false, 7, 1).bytes()
	p.operator.send(request)
	p.device.gets(mark, request)
	mark = p.operator.mark()
	reply := echoFrom(p.device.address, p.operator.address, true, 7, 1).bytes()
	p.device.send(reply)
	p.operator.gets(mark, reply)
	p.operator.works("TCP", p.tcp(ssh.Number))
	if forwarded, echoes := w.plane.Passed(); forwarded == 0 || echoes == 0 {
		t.Errorf("%d packets forwarded, %d echoes", forwarded, echoes)
	}
	// One that is answered late is begun again.
	if handshook, proved := w.calls(p.ID); handshook > int(p.device.began.Load()) || proved != 1 {
		t.Errorf("%d handshakes and %d proofs of one device, which began %d", handshook, proved, p.device.began.Load())
	}
}

// again: a session that is set once more as it is goes on as if nothing were.
func again(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p := w.pair(1)
	c := p.tcp(ssh.Number)
	w.eventually("the proof", func() bool { _, n := w.calls(p.ID); return n == 1 })
	before := w.plane.Counters(p.ID)
	began := p.device.began.Load()
	for range 5 {
		w.set(p.Session)
		p.operator.works("set again", c)
	}
	p.End = p.End.Add(time.Hour)
	w.set(p.Session)
	p.operator.works("extended", c)
	p.passes("extended")
	if handshook, proved := w.calls(p.ID); p.device.began.Load() != began || proved != 1 {
		t.Errorf("%d handshakes and %d proofs: the device was disturbed", handshook, proved)
	}
	if after := w.plane.Counters(p.ID); after.Rx < before.Rx || after.Tx < before.Tx {
		t.Errorf("counters fell from %+v to %+v", before, after)
	}
}

// operators: one joins and leaves; the one who stays notices nothing.
func operators(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p, witness := w.pair(1), w.pair(2)
	c := p.tcp(ssh.Number)
	key := newKey(t)
	second := p.Session
	second.Operators = append(second.Operators[:1:1], reach.Operator{Key: key.public, Address: numbered(201, 1), Ports: []reach.Port{smb}})
	w.set(second)
	joined := w.connect(key, w.operators, numbered(201, 1))
	p.serves(smb.Number, echo)
	his := joined.dial(p.device, smb.Number)
	joined.works("the second operator", his)
	p.operator.works("the first, joined", c)

	w.set(p.Session)
	w.cut("an operator who left", witness, p.device, joined, his, func(i *packet.Info) bool {
		return i.Src == joined.address || i.Dst == joined.address
	})
	p.operator.works("the first, alone again", c)

	// The address goes on to the next one, and none of the flows with it.
	next := newKey(t)
	second.Operators[1].Key = next.public
	w.set(second)
	successor := w.connect(next, w.operators, numbered(201, 1))
	successor.works("his successor", successor.dial(p.device, smb.Number))
}

// ports: a port that is taken back is shut to live connections, and to those alone.
func ports(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p := w.pair(1, func(s *reach.Session) { s.Operators[0].Ports = []reach.Port{ssh, smb, rdp} })
	witness := w.pair(2)
	stays, goes := p.tcp(ssh.Number), p.tcp(smb.Number)
	p.Operators[0].Ports = []reach.Port{ssh, rdp}
	w.set(p.Session)
	p.operator.works("the port that stays", stays)
	port := uint16(goes.LocalAddr().(*net.TCPAddr).Port)
	w.cut("the port taken back", witness, p.device, p.operator, goes, func(i *packet.Info) bool {
		return i.SrcPort == port || i.DstPort == port
	})
	p.operator.works("the port that stays", stays)
	p.passes("UDP")

	p.Operators[0].Ports = []reach.Port{ssh, smb, rdp}
	w.set(p.Session)
	p.operator.works("the port given back", p.operator.dial(p.device, smb.Number))
}

// cut writes to a connection and fails the case if a new segment of it that of names
// reaches the device, or the operator.
func (w *world) cut(what string, witness *pair, device, operator *client, c net.Conn, of func(*packet.Info) bool) {
	w.t.Helper()
	witness.passes(what)
	old := w.old()
	marks := [2]int{device.mark(), operator.mark()}
	c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write(make([]byte, 1000))
	witness.passes(what)
	for i, end := range []*client{device, operator} {
		if end.wait(marks[i], 700*time.Millisecond, func(i *packet.Info, b []byte) bool {
			return of(i) && !end.own(i) && !old[string(b)]
		}) {
			w.t.Errorf("%s: %v still gets segments", what, end.address)
		}
	}
}

// remove: a session that ends takes its live connections along; others go on.
func remove(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p, other := w.pair(1), w.pair(2)
	mine, theirs := p.tcp(ssh.Number), other.tcp(ssh.Number)
	before := w.plane.Counters(p.ID)
	if last := w.plane.Remove(p.ID); last.Rx < before.Rx || last.Tx < before.Tx || last.Rx == 0 || last.Tx == 0 {
		t.Errorf("last counters %+v, %+v before", last, before)
	}
	w.cut("a session that was removed", other, p.device, p.operator, mine, func(*packet.Info) bool { return true })
	w.silent("a session that was removed", other, []*client{p.device, p.operator}, func() {
		p.operator.send(p.ask("too late"))
		p.device.send(p.answer("too late"))
		p.device.send(packet.AppendEcho(nil, p.device.address, w.proof, echoID+1, 1, nil, 84))
	})
	other.operator.works("the other session", theirs)
	if n := w.plane.Remove(p.ID); n != (reach.Counters{}) {
		t.Errorf("removed twice: %+v", n)
	}
	if n := w.plane.Counters(p.ID); n != (reach.Counters{}) {
		t.Errorf("counters of no session: %+v", n)
	}
}

// end: a session is over at its end by the node's clock.
func end(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p, other := w.pair(1), w.pair(2)
	c := p.tcp(ssh.Number)
	p.End = time.Now().Add(3 * time.Second)
	w.set(p.Session)
	time.Sleep(time.Until(p.End))
	w.eventually("the end", func() bool { return !p.device.answered(time.Second) }) // a busy kernel begins to count late
	w.cut("after the end", other, p.device, p.operator, c, func(*packet.Info) bool { return true })
	w.silent("after the end", other, []*client{p.device, p.operator}, func() {
		p.operator.send(p.ask("too late"))
		p.device.send(p.answer("too late"))
		p.operator.send(echoFrom(p.operator.address, p.device.address, false, 1, 1).bytes())
		p.device.send(packet.AppendEcho(nil, p.device.address, w.proof, echoID+1, 1, nil, 84))
		p.operator.send(packet.AppendEcho(nil, p.operator.address, w.proof, echoID+1, 1, nil, 84))
	})
	p.End = time.Now().Add(time.Hour)
	w.set(p.Session)
	p.passes("a later end")
}

// counters: bytes of inner packets that passed, each way, and nothing else.
func counters(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p, other := w.pair(1), w.pair(2)
	var want reach.Counters
	for i := range 20 {
		data := string(make([]byte, 50*i))
		p.passes(data)
		want.Tx += uint64(len(p.ask(data)))
		want.Rx += uint64(len(p.answer(data)))
	}
	mark := p.device.mark()
	request := echoFrom(p.operator.address, p.device.address, false, 7, 1).bytes()
	p.operator.send(request)
	p.device.gets(mark, request)
	want.Tx += uint64(len(request))
	// What does not pass does not count, nor do echoes to the node.
	p.operator.send(udpFrom(p.operator.address, 1, p.device.address, 9, "not granted").bytes())
	p.device.send(udpFrom(p.device.address, 9, p.operator.address, 1, "not granted").bytes())
	p.operator.fence()
	p.device.fence()
	w.eventually("the counters", func() bool { return w.plane.Counters(p.ID) == want })
	p.End = p.End.Add(time.Minute)
	w.set(p.Session)
	other.passes("another session")
	if got := w.plane.Counters(p.ID); got != want {
		t.Errorf("counters %+v, want %+v", got, want)
	}
	if got := w.plane.Remove(p.ID); got != want {
		t.Errorf("last counters %+v, want %+v", got, want)
	}
}

// addressesInUse: what another session holds, or the node, is refused, and nothing
// comes of it.
func addressesInUse(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p := w.pair(1)
	for what, change := range map[string]func(*reach.Session){
		"another's device":          func(s *reach.Session) { s.Device.Addresses = p.Device.Addresses },
		"another's operator":        func(s *reach.Session) { s.Operators[0].Address = p.Operators[0].Address },
		"a device at an operator's": func(s *reach.Session) { s.Device.Addresses[0] = p.Operators[0].Address },
		"the node's":                func(s *reach.Session) { s.Device.Addresses[0] = w.proof },
		"one for both":              func(s *reach.Session) { s.Operators[0].Address = s.Device.Addresses[0] },
		"none":                      func(s *reach.Session) { s.Device.Addresses = nil },
	} {
		thief, _, _ := w.described(9)
		change(&thief)
		if w.plane.Set(thief) == nil {
			t.Errorf("%s: taken", what)
		}
		p.passes(what)
		honest, _, _ := w.described(9)
		w.set(honest)
		w.plane.Remove(honest.ID)
	}
}

// proof: the node answers echoes at one address, which may change.
func proof(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p := w.pair(1)
	moved := netip.AddrFrom4([4]byte{10, 166, 0, 2})
	w.plane.SetPool(pool, moved)
	old := p.device.proof
	p.device.proof, p.operator.proof = moved, moved
	p.device.fence()
	p.operator.fence()
	p.passes("with the other proof address")
	p.device.proof = old
	if p.device.answered(time.Second) {
		t.Error("the node answers at its old address")
	}
	// What is of another range works as well, beside what is of the one before.
	elsewhere, other := netip.MustParsePrefix("10.99.0.0/16"), netip.MustParseAddr("10.99.0.1")
	w.plane.SetPool(elsewhere, other)
	w.proof, p.device.proof, p.operator.proof = other, other, other
	q := w.pair(2, func(s *reach.Session) {
		s.Device.Addresses[0], s.Operators[0].Address = netip.MustParseAddr("10.99.1.1"), netip.MustParseAddr("10.99.200.1")
	})
	q.passes("in another range")
	p.passes("in the range of before")
}

// closed: a plane that was closed takes nothing more.
func closed(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p := w.pair(1)
	c := p.tcp(ssh.Number)
	p.operator.works("before", c)
	if err := w.plane.Close(); err != nil {
		t.Fatal(err)
	}
	if s.Gone != nil {
		s.Gone(t)
	}
	if err := w.plane.Set(p.Session); !errors.Is(err, net.ErrClosed) {
		t.Errorf("set after Close: %v", err)
	}
	// Not any packet: the last of the connection may still be in the device's sockets.
	late := p.ask("too late")
	packet.Hop(late)
	p.operator.send(p.ask("too late"))
	if p.device.wait(0, time.Second, func(_ *packet.Info, b []byte) bool { return string(b) == string(late) }) {
		t.Error("a packet passed a closed plane")
	}
	w.plane.Remove(p.ID)
}

// thousand: as many sessions at once, of which a few are at work.
func thousand(t *testing.T, s Subject) {
	sessions := 1000
	if s.Slow {
		sessions = 100
	}
	every := sessions / 10
	w := newWorld(t, s)
	var pairs []*pair
	for n := 1; n <= sessions; n++ {
		if n%every == 0 {
			pairs = append(pairs, w.pair(n))
			continue
		}
		described, _, _ := w.described(n)
		w.set(described)
	}
	for i, p := range pairs {
		p.passes("one of a thousand")
		if i%2 == 0 {
			w.plane.Remove(p.ID)
		}
	}
	for i, p := range pairs {
		if i%2 == 1 {
			p.passes("one of the rest")
		}
	}
	for n := 1; n <= sessions; n++ {
		described, _, _ := w.described(n)
		w.plane.Remove(described.ID)
	}
	fresh := w.pair(sessions + 1)
	fresh.passes("the only one")
}
