package netlab

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// shop is a kiosk behind a NAT that reaches a server across a slow link.
func shop(t *testing.T, e Emulation) (kiosk, nat, server *Host, wan *Link) {
	l := New(t)
	Require(t, "ping")
	kiosk, nat, server = l.Host("kiosk"), l.Router("nat"), l.Host("server")
	lan := l.Link(kiosk, "192.168.7.2/24", nat, "192.168.7.1/24")
	wan = l.Emulate(nat, "203.0.113.7/24", server, "203.0.113.1/24", e)
	kiosk.Route("default", lan.B.Addr)
	nat.NAT(wan.A)
	l.Start()
	return kiosk, nat, server, wan
}

func TestHostBehindNATReachesServerAndNotTheOtherWay(t *testing.T) {
	kiosk, _, server, _ := shop(t, Emulation{})
	from := make(chan netip.AddrPort, 1)
	var ln net.Listener
	if err := server.Do(func() (err error) { ln, err = net.Listen("tcp", "203.0.113.1:7"); return }); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		from <- c.RemoteAddr().(*net.TCPAddr).AddrPort()
		c.Close()
	}()
	err := kiosk.Do(func() error {
		c, err := net.DialTimeout("tcp", "203.0.113.1:7", 10*time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	kiosk.Run("ping", "-c", "1", "-W", "5", "203.0.113.1") // pings do pass, the other way
	if got := <-from; got.Addr() != netip.MustParseAddr("203.0.113.7") {
		t.Errorf("the server saw %v, want the NAT's address", got)
	}
	server.Route("192.168.7.0/24", netip.MustParseAddr("203.0.113.7"))
	if out, err := server.Output("ping", "-c", "1", "-W", "1", "192.168.7.2"); err == nil {
		t.Errorf("the server reached the kiosk behind its NAT:\n%s", out)
	}
}

func TestEmulatedDelayLossAndMTU(t *testing.T) {
	_, nat, _, wan := shop(t, Emulation{Delay: 30 * time.Millisecond})
	rtt := func() time.Duration {
		start := time.Now()
		nat.Run("ping", "-c", "1", "-W", "5", "203.0.113.1")
		return time.Since(start)
	}
	if got := rtt(); got < 60*time.Millisecond {
		t.Errorf("round trip took %v, want at least 60 ms", got)
	}
	wan.Set(Emulation{MTU: 1000})
	if _, err := nat.Output("ping", "-c", "1", "-W", "1", "-s", "1100", "203.0.113.1"); err == nil {
		t.Error("a packet larger than the MTU passed")
	}
	nat.Run("ping", "-c", "1", "-W", "5", "-s", "900", "203.0.113.1")
	wan.Set(Emulation{Loss: 1})
	if _, err := nat.Output("ping", "-c", "1", "-W", "1", "203.0.113.1"); err == nil {
		t.Error("a packet passed a link that loses all")
	}
	wan.Set(Emulation{Rate: 80_000}) // 84 bytes take 8.4 ms
	if got := rtt(); got < 16*time.Millisecond {
		t.Errorf("84 bytes each way at 80 kbit/s took %v, want at least 16 ms", got)
	}
}

func TestLinkDownAndUp(t *testing.T) {
	kiosk, nat, _, wan := shop(t, Emulation{})
	lan := kiosk.lab.links[0]
	far := map[*Link]string{lan: "192.168.7.2", wan: "203.0.113.1"} // seen from the NAT
	for _, k := range []*Link{lan, wan} {
		k.Down()
		if _, err := nat.Output("ping", "-c", "1", "-W", "1", far[k]); err == nil {
			t.Error("a packet passed a link that is down")
		}
		k.Up()
	}
	kiosk.Route("default", lan.B.Addr) // lost with the link
	kiosk.Run("ping", "-c", "1", "-W", "5", "203.0.113.1")
}

func TestDoEndsWithItsGoroutine(t *testing.T) {
	h := New(t).Host("kiosk")
	if err := h.Do(func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("no error")
	}
}

func TestRefuseAndAllow(t *testing.T) {
	kiosk, nat, _, _ := shop(t, Emulation{})
	nat.Refuse("icmp type echo-request")
	if _, err := kiosk.Output("ping", "-c", "1", "-W", "1", "203.0.113.1"); err == nil {
		t.Error("a refused packet passed")
	}
	nat.Allow()
	kiosk.Run("ping", "-c", "1", "-W", "5", "203.0.113.1")
}

func TestCubicAndSwitch(t *testing.T) {
	l := New(t)
	sw, a, b := l.Switch("lan"), l.Host("a"), l.Host("b")
	l.Link(a, "192.0.2.1/24", sw, "")
	l.Link(b, "192.0.2.2/24", sw, "")
	l.Start()
	a.Run("ping", "-c", "1", "-W", "5", "192.0.2.2")
	if got := connectionInfo(t, a, b, "192.0.2.2:7"); !strings.Contains(got, "cubic") {
		t.Errorf("a connection does not use cubic:\n%s", got)
	}
	if got := l.Drawing(); !strings.Contains(got, "a (host)\n '-- net0 192.0.2.1 ----- net0 lan\n") {
		t.Errorf("drawing:\n%s", got)
	}
}

func TestLabLeavesNothing(t *testing.T) {
	var id string
	t.Run("lab", func(t *testing.T) { id = shopLab(t) })
	if id == "" {
		t.Skip("no lab could be made")
	}
	entries, err := os.ReadDir("/run/netns")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), id) {
			t.Errorf("namespace %s is left", e.Name())
		}
	}
}

func shopLab(t *testing.T) string {
	kiosk, _, _, _ := shop(t, Emulation{})
	return kiosk.lab.id
}

// connectionInfo is what ss says of a connection from a to an address of b.
func connectionInfo(t *testing.T, a, b *Host, addr string) string {
	t.Helper()
	var ln net.Listener
	if err := b.Do(func() (err error) { ln, err = net.Listen("tcp", addr); return }); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var c net.Conn
	if err := a.Do(func() (err error) { c, err = net.DialTimeout("tcp", addr, 10*time.Second); return }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return a.Run("ss", "-tinH")
}

func TestSnapshotSeesWhatIsLeft(t *testing.T) {
	l := New(t)
	h := l.Host("kiosk")
	pids := map[string]int{"test": os.Getpid()}
	h.Run("ip", "link", "add", "gone0", "type", "bridge")
	before := h.Snapshot(pids)
	if diff := before.Diff(h.Snapshot(pids)); len(diff) > 0 {
		t.Errorf("nothing happened, yet: %q", diff)
	}
	var ln net.Listener
	if err := h.Do(func() (err error) { ln, err = net.Listen("tcp", "127.0.0.1:7"); return }); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	h.Run("ip", "link", "del", "gone0")
	h.Run("ip", "link", "add", "left0", "type", "bridge")
	h.Run("ip", "link", "set", "left0", "up")
	h.Run("ip", "addr", "add", "192.0.2.7/32", "dev", "left0")
	h.NFT("table inet left { }")
	after := h.Snapshot(pids)
	diff := strings.Join(before.Left(after), "\n")
	if back := strings.Join(after.Left(before), "\n"); strings.Contains(back, "sockets") || strings.Contains(back, "files") {
		t.Errorf("what is gone counts as left:\n%s", back)
	}
	for _, want := range []string{"sockets + tcp LISTEN 127.0.0.1:7", "interfaces + ", "interfaces - ", "addresses + ", "routes + local 192.0.2.7", "nftables + table inet left", "files of test + "} {
		if !strings.Contains(diff, want) {
			t.Errorf("no %q in\n%s", want, diff)
		}
	}
}
