package planetest

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/internal/packet"
)

// mtu is the planes'.
const mtu = 1280

// pool is where all tunnel addresses are at first.
var pool = netip.MustParsePrefix("10.166.0.0/16")

// world is one plane and those who use it.
type world struct {
	t       testing.TB
	subject Subject
	plane   Plane
	key     keyPair
	proof   netip.Addr

	devices, operators uint16 // the plane's ports

	clients []*client

	mu                sync.Mutex
	handshook, proved map[string]int
}

// newWorld opens a plane, which ends with the case; then nothing of it may be left.
func newWorld(t testing.TB, s Subject, changes ...func(*Config)) *world {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.None(t, before) })
	w := &world{
		t: t, subject: s, key: newKey(t), proof: netip.AddrFrom4([4]byte{10, 166, 0, 1}),
		handshook: make(map[string]int), proved: make(map[string]int),
	}
	cfg := Config{
		PrivateKey: w.key.private, Proof: w.proof, MTU: mtu, Patience: time.Hour,
		Handshake: func(id string) { w.count(w.handshook, id) },
		Proved:    func(id string) { w.count(w.proved, id) },
	}
	for _, change := range changes {
		change(&cfg)
	}
	w.plane = s.Open(t, cfg)
	t.Cleanup(func() {
		if err := w.plane.Close(); err != nil {
			t.Error("Close:", err)
		}
		if s.Gone != nil {
			s.Gone(t)
		}
	})
	var err error
	if w.devices, w.operators, err = w.plane.Ports(); err != nil || w.devices == 0 || w.operators == 0 {
		t.Fatalf("ports %d and %d: %v", w.devices, w.operators, err)
	}
	return w
}

func (w *world) count(calls map[string]int, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls[id]++
}

func (w *world) calls(id string) (handshook, proved int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.handshook[id], w.proved[id]
}

// eventually waits until f says true.
func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// set installs a session that must be taken.
func (w *world) set(s reach.Session) {
	w.t.Helper()
	if err := w.plane.Set(s); err != nil {
		w.t.Fatalf("set %s: %v", s.ID, err)
	}
}

// The ports that a pair's operator may reach.
var (
	ssh  = reach.Port{Proto: packet.TCP, Number: 22}
	smb  = reach.Port{Proto: packet.TCP, Number: 445}
	rdp  = reach.Port{Proto: packet.UDP, Number: 3389}
	both = []reach.Port{ssh, rdp}
)

// pair is a session with its device and its first operator, both connected.
type pair struct {
	reach.Session
	w                *world
	device, operator *client
}

// described is session number n, and the keys of its two ends.
func (w *world) described(n int) (s reach.Session, device, operator keyPair) {
	w.t.Helper()
	device, operator = newKey(w.t), newKey(w.t)
	return reach.Session{
		ID:     fmt.Sprintf("session-%d", n),
		Device: reach.Device{Key: device.public, Addresses: []netip.Addr{numbered(1, n)}},
		Operators: []reach.Operator{
			{Key: operator.public, Address: numbered(200, n), Ports: both},
		},
		End: time.Now().Add(time.Hour),
	}, device, operator
}

func numbered(net byte, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 166, net + byte(n>>8), byte(n)})
}

// pair opens session number n, changed by changes, and connects its ends.
func (w *world) pair(n int, changes ...func(*reach.Session)) *pair {
	w.t.Helper()
	s, device, operator := w.described(n)
	for _, change := range changes {
		change(&s)
	}
	w.set(s)
	p := &pair{Session: s, w: w}
	p.device = w.connect(device, w.devices, s.Device.Addresses[0])
	p.operator = w.connect(operator, w.operators, s.Operators[0].Address)
	return p
}

// connect brings up a client and has it shake hands.
func (w *world) connect(key keyPair, port uint16, address netip.Addr) *client {
	w.t.Helper()
	c := newClient(w.t, key, w.key.public, port, address, w.proof)
	w.clients = append(w.clients, c)
	c.fence()
	return c
}

// tcp is a live connection of the operator's to an echo at the device's port.
func (p *pair) tcp(port uint16) net.Conn {
	p.w.t.Helper()
	p.serves(port, echo)
	c := p.operator.dial(p.device, port)
	p.operator.works("at first", c)
	return c
}

func (p *pair) serves(port uint16, f func(net.Conn)) {
	p.w.t.Helper()
	if err := p.device.withStack().net.serve(port, f); err != nil {
		p.w.t.Fatal(err)
	}
}

// ask is a UDP packet of the operator's to the device's granted port; answer goes
// the other way.
func (p *pair) ask(data string) []byte {
	return udpFrom(p.operator.address, 40000, p.device.address, rdp.Number, data).bytes()
}

func (p *pair) answer(data string) []byte {
	return udpFrom(p.device.address, rdp.Number, p.operator.address, 40000, data).bytes()
}

// passes has one packet go each way.
func (p *pair) passes(what string) {
	p.w.t.Helper()
	at := [2]int{p.device.mark(), p.operator.mark()}
	p.operator.send(p.ask(what))
	p.device.gets(at[0], p.ask(what))
	p.device.send(p.answer(what))
	p.operator.gets(at[1], p.answer(what))
}

// old is what anybody has sent so far, as it arrives: it may be on its way still,
// behind the plane, in the sockets of who gets it.
func (w *world) old() map[string]bool {
	all := make(map[string]bool)
	for _, c := range w.clients {
		c.old(all)
	}
	return all
}

// silent fails the case if anything new reaches one of the clients while f has packets
// sent; witness is a pair whose packets do pass.
func (w *world) silent(what string, witness *pair, clients []*client, f func()) {
	w.t.Helper()
	old := w.old()
	marks := make([]int, len(clients))
	for i, c := range clients {
		marks[i] = c.mark()
	}
	f()
	for range 3 {
		witness.passes(what)
		time.Sleep(50 * time.Millisecond) // what is on its way by another one may take a moment more
	}
	for i, c := range clients {
		for _, b := range c.strangers(marks[i]) {
			if !old[string(b)] {
				w.t.Errorf("%s: %v got %x", what, c.address, b)
			}
		}
	}
}
