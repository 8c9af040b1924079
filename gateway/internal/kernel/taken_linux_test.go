package kernel

import (
	"context"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/kernelvm"
)

// envTaken is set for the process of TestTableTaken that lives in a namespace.
const envTaken = "BOOTHWIRE_KERNEL_TAKEN"

// Who loads the host's own rules anew takes the node's table away with all others: the
// tunnels must not stand open, and what goes through them goes on.
func TestTableTaken(t *testing.T) {
	if kernelvm.Inside() {
		t.Skip("runs outside of the guest")
	}
	if os.Getenv(envTaken) == "" {
		inNamespace(t, envTaken)
		return
	}
	node := newKey()
	p := overFor(t, node)
	devices, operators, err := p.Ports()
	if err != nil {
		t.Fatal(err)
	}
	one, dev, op := described(1)
	other, otherDev, _ := described(2)
	other.Down = 50_000_000 // and a class of traffic
	for _, s := range []*struct{ err error }{{p.Set(one)}, {p.Set(other)}, {p.Settle()}} {
		if s.err != nil {
			t.Fatal(s.err)
		}
	}
	device := newEnd(t, dev, node.public, devices, one.Device.Addresses[0])
	victim := newEnd(t, otherDev, node.public, devices, other.Device.Addresses[0])
	for _, e := range []*end{device, victim} {
		e.echoes(t, 22)
		e.echoes(t, 23)
		if !e.pinged(t, p.proof, 100) {
			t.Fatal("a device does not reach the node")
		}
	}
	operator := newEnd(t, op, node.public, operators, one.Operators[0].Address)
	c := operator.dial(t, one.Device.Addresses[0], 22)
	works(t, "before", c, 10_000)
	before := p.Counters(one.ID)
	if before.Rx == 0 || before.Tx == 0 {
		t.Fatalf("counted before: %+v", before)
	}

	nft, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be done again at any time
		nft.FlushRuleset()
		if err := nft.Flush(); err != nil {
			t.Fatal(err)
		}
		until(t, "the table is there again", func() bool {
			list, err := nft.ListTables()
			return err == nil && len(list) == 1
		})
		var attacks sync.WaitGroup
		for _, a := range []struct {
			what string
			from *end
			to   netip.AddrPort
		}{
			{"a device reaches another", device, netip.AddrPortFrom(other.Device.Addresses[0], 22)},
			{"an operator reaches a port that he was not granted", operator, netip.AddrPortFrom(one.Device.Addresses[0], 23)},
			{"an operator reaches a device of another session", operator, netip.AddrPortFrom(other.Device.Addresses[0], 22)},
		} {
			attacks.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond) // two segments
				defer cancel()
				if c, err := a.from.net.DialContextTCPAddrPort(ctx, a.to); err == nil {
					c.Close()
					t.Error(a.what)
				}
			})
		}
		attacks.Wait()
		works(t, "a connection goes on", c, 10_000)
	}
	if now := p.Counters(one.ID); now.Rx < before.Rx || now.Tx < before.Tx {
		t.Errorf("counted %+v, and %+v before", now, before)
	}
	if len(p.firewall.classes) != 2 {
		t.Errorf("classes: %v", p.firewall.classes)
	}
	third, thirdDev, _ := described(3)
	if err := p.Set(third); err != nil {
		t.Fatal(err)
	}
	if !newEnd(t, thirdDev, node.public, devices, third.Device.Addresses[0]).pinged(t, p.proof, 100) {
		t.Error("a later session does not work")
	}
	p.Remove(one.ID)
	c.SetDeadline(time.Now().Add(2 * time.Second))
	c.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a session that was closed goes on")
	}
}

// What was counted until the table was taken away counts once, for whoever had asked
// just before it was made anew, too.
func TestCountedOnce(t *testing.T) {
	w := way{operator: netip.MustParseAddr("10.166.192.1"), device: netip.MustParseAddr("10.166.0.2")}
	bytes := reach.Counters{Rx: 1000, Tx: 2000}
	p := &Plane{sessions: map[string]*session{"session-1": {ways: []way{w}}}}
	p.counters = cache{at: time.Now().Add(time.Hour), bytes: map[way]reach.Counters{w: bytes}}
	before, count := p.counters.get(p)
	p.mu.Lock()
	p.counters.settle(p)
	p.mu.Unlock()
	if got := p.sum("session-1", before, count); got != bytes {
		t.Errorf("counted %+v, not %+v", got, bytes)
	}
	if got := p.Counters("session-1"); got != bytes {
		t.Errorf("later %+v, not %+v", got, bytes)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not: %s", what)
		}
	}
}
