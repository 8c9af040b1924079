package kernel

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/boothwire/boothwire/internal/kernelvm"
)

// Classes stand while their session does, on the interface of their direction; bulk
// goes through them and small packets go first.
func TestGuestClasses(t *testing.T) {
	kernelvm.Guest(t)
	node := newKey()
	p, err := Open(Config{PrivateKey: node.private, Pool: netip.MustParsePrefix("10.166.0.0/16"), Proof: netip.MustParseAddr("10.166.255.1")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if n := classes(t, p.links.devices); len(n) > 0 {
		t.Errorf("classes before any rate: %v", n)
	}
	s, dev, op := described(1)
	s.Up, s.Down = 20_000_000, 30_000_000
	if err := p.Set(s); err != nil {
		t.Fatal(err)
	}
	class := p.sessions[s.ID].class
	device := newEnd(t, dev, node.public, p.links.port, s.Device.Addresses[0])
	device.echoes(t, 22)
	c := newEnd(t, op, node.public, p.links.entry, s.Operators[0].Address).dial(t, s.Device.Addresses[0], 22)
	works(t, "bulk", c, 300_000)
	works(t, "small", c, 10)
	for _, side := range []struct {
		link netlink.Link
		ceil int64
	}{{p.links.operators, s.Up}, {p.links.devices, s.Down}} {
		all := classes(t, side.link)
		if n := all[class]; n.bytes < 300_000 || n.ceil != side.ceil {
			t.Errorf("%s: the session's class: %+v, want a ceiling of %d", side.link.Attrs().Name, n, side.ceil)
		}
		if n := all[classFirst]; n.bytes == 0 {
			t.Errorf("%s: nothing went first", side.link.Attrs().Name)
		}
	}
	// The node's answers count, too: a device that asks without end gets no more than its
	// share.
	before := classes(t, p.links.devices)[class].bytes
	const asked, size = 20, 1200
	for range asked {
		if !device.pinged(t, p.proof, size) {
			t.Error("the node does not answer an echo")
		}
	}
	if n := classes(t, p.links.devices)[class].bytes - before; n < asked*size {
		t.Errorf("%d bytes of answers went through the session's class, want %d", n, asked*size)
	}
	s.Up = 10_000_000
	if err := p.Set(s); err != nil {
		t.Fatal(err)
	}
	works(t, "set lower", c, 10_000)
	if n := classes(t, p.links.operators)[class]; n.ceil != s.Up {
		t.Errorf("the ceiling is %d, want %d", n.ceil, s.Up)
	}
	p.Remove(s.ID)
	for _, link := range []netlink.Link{p.links.devices, p.links.operators} {
		if n, ok := classes(t, link)[class]; ok {
			t.Errorf("%s: a class is left: %+v", link.Attrs().Name, n)
		}
	}
}

type classState struct {
	ceil  int64 // bit/s
	bytes int
}

func classes(t *testing.T, link netlink.Link) map[uint16]classState {
	t.Helper()
	list, err := netlink.ClassList(link, netlink.HANDLE_NONE)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[uint16]classState)
	for _, c := range list {
		if h, ok := c.(*netlink.HtbClass); ok {
			_, minor := netlink.MajorMinor(h.Handle)
			all[minor] = classState{ceil: int64(h.Ceil) * 8, bytes: int(h.Statistics.Basic.Bytes)}
		}
	}
	return all
}
