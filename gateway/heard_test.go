package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// A restarted node speaks to those whom it spoke with: an end that has nothing to send
// is back at once, and no end waits until it notices that nobody answers.
func TestCalls(t *testing.T) {
	a := newAuthority(t, "test")
	cfg := &Config{Store: keys.NewMemory(), Journal: filepath.Join(t.TempDir(), "journal")}
	n, r := newNode(t, a, cfg)
	p, gone := newPair(n, 1, keys.UDP(3389)), newPair(n, 2, keys.TCP(22))
	admit(t, n, a, &p.grant)
	admit(t, n, a, &gone.grant)
	device := up(t, n.FarEnd(), p.device, p.devAddr())
	operator := up(t, n.FarEnd(), p.operator, p.opAddr())
	third := up(t, n.FarEnd(), gone.device, gone.devAddr())
	for _, e := range []*end{device, operator, third} {
		if !e.ping(n.FarEnd().Proof, patience) {
			t.Fatal("no proof")
		}
	}
	wait(t, r, KindProved, p.grant.Session)
	eventually(t, "the journal knows where they are", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return len(n.sessions[p.grant.Session].heard) == 2 && len(n.sessions[gone.grant.Session].heard) == 1
	})
	device.serve(t, 3389)
	n.mu.Lock()
	left := n.sessions[gone.grant.Session].heard[gone.grant.Prekey]
	n.mu.Unlock()
	third.down()
	called := must(net.ListenUDP("udp4", net.UDPAddrFromAddrPort(left))) // who was there before it
	defer called.Close()
	before := operator.handshakes()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n, r = newNode(t, a, cfg)
	// Nobody sends anything, and WireGuard itself would not for 15 s after it did.
	wait(t, r, KindHandshake, p.grant.Session)
	eventually(t, "the engineer is called", func() bool { return operator.handshakes() != before })
	c := must(operator.net.DialUDPAddrPort(netip.AddrPort{}, netip.AddrPortFrom(device.address, 3389)))
	defer c.Close()
	if !echoes(c, "first", patience) {
		t.Error("the engineer's first packet was lost")
	}
	if s := n.Sessions(); len(s) != 2 || s[0].Handshake.IsZero() || !s[1].Handshake.IsZero() {
		t.Errorf("sessions: %+v", s)
	}
	for _, h := range n.holding() {
		if h.Fresh != (h.Session == gone.grant.Session) {
			t.Errorf("holds %+v", h)
		}
	}
	// Who does not answer is not called for ever.
	called.SetReadDeadline(time.Now().Add(patience))
	if _, err := called.Read(make([]byte, 1500)); err != nil {
		t.Errorf("the third was not called: %v", err)
	}
	eventually(t, "the third is given up", func() bool {
		heard := n.plane.(caller).Heard()
		_, ok := heard[gone.grant.Prekey]
		return !ok && len(heard) == 2
	})
	// It may come all the same.
	third = up(t, n.FarEnd(), gone.device, gone.devAddr())
	if !third.ping(n.FarEnd().Proof, patience) {
		t.Error("given up for good")
	}
}

// What the journal says of where peers are is believed as little as the rest.
func TestHeardLines(t *testing.T) {
	a := newAuthority(t, "test")
	l := newLives(t, a)
	n, _ := l.next()
	p := newPair(n, 1)
	admit(t, n, a, &p.grant)
	stranger := keys.NewPrivateKey().Public()
	for name, line := range map[string]string{
		"not JSON": `{`, "an address without a port": `{"heard":{"` + p.grant.Prekey.String() + `":"192.0.2.1"}}`,
		"no key": `{"heard":{"x":"192.0.2.1:1"}}`, "another's key": fmt.Sprintf(`{"heard":{%q:"192.0.2.1:1"}}`, stranger),
	} {
		n.journal.Set(heardMark+p.grant.Session, []byte(line))
		n.journal.Set(heardMark+"nobody", []byte(line))
		n, _ = l.next()
		if len(n.Sessions()) != 1 {
			t.Errorf("%s: %+v", name, n.Sessions())
		}
		for k := range n.journal.All() {
			if k == heardMark+"nobody" {
				t.Errorf("%s: a line of no session is kept", name)
			}
		}
	}
}

// A node whose plane has nobody to call sleeps until something is due.
func TestNobodyToCall(t *testing.T) {
	a := newAuthority(t, "test")
	n, _ := newLives(t, a).next()
	admit(t, n, a, &newPair(n, 1).grant)
	n.listenAround()
	if d := n.look(); d < maxSleep {
		t.Errorf("looks again after %v", d)
	}
}

// How often the node looks where peers are heard: soon after somebody new came, ever
// more rarely then, and not at all while nothing flows.
func TestHearing(t *testing.T) {
	var h hearing
	var looks []time.Duration
	passed := uint64(1)
	for now := time.Duration(0); now < time.Minute; now += 100 * time.Millisecond {
		if now == 35*time.Second {
			h.soon(now)
		}
		if now < 40*time.Second {
			passed++
		}
		if h.due(now, passed) {
			looks = append(looks, now)
		}
	}
	if got := fmt.Sprint(looks); got != "[0s 300ms 800ms 1.8s 3.8s 7.8s 15.8s 25.8s 35.3s 35.6s 36.1s 37.1s 39.1s 43.1s]" {
		t.Errorf("looked after %s", got)
	}
	// A look that takes long is taken rarely, whoever comes.
	h = hearing{}
	n := 0
	for now := time.Duration(0); now < time.Minute; now += 100 * time.Millisecond {
		h.soon(now)
		passed++
		if h.due(now, passed) {
			h.took(40 * time.Millisecond)
			n++
		}
	}
	if n > 31 {
		t.Errorf("looked %d times in a minute", n)
	}
}
