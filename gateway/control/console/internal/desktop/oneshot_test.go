package desktop

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/console/internal/rdcleanpath"
)

// comesFrom is a connection whose far end is at an address of this machine's, in this
// process.
func comesFrom(t *testing.T, at string) net.Conn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(at)}}
	far, err := dialer.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close(); near.Close() })
	return near
}

var localhost = netip.MustParseAddr("127.0.0.1")

// knocks connects to a port, says something, and reports whether it is cut.
func knocks(t *testing.T, at netip.AddrPort, says []byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patienceOfTests))
	c.Write(says)
	return c
}

func cut(c net.Conn) bool {
	n, err := c.Read(make([]byte, 1))
	return n == 0 && err != nil
}

// The port for guacd is for guacd, once: neither who is elsewhere, nor who comes first and
// does not know the token, has a byte of the device's, and none keeps guacd from coming.
func TestOneShot(t *testing.T) {
	d := newDevice(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var dialled atomic.Int32
	dial := func(ctx context.Context) (net.Conn, error) {
		dialled.Add(1)
		return new(net.Dialer).DialContext(ctx, "tcp", d.ln.Addr().String())
	}
	elsewhere, err := forwardOnce(ctx, localhost, fromPeer(comesFrom(t, "127.0.0.9")), dial)
	if err != nil {
		t.Fatal(err)
	}
	if !cut(knocks(t, elsewhere.Address, browserAsks)) {
		t.Error("another machine read something")
	}

	token := routing()
	once, err := forwardOnce(ctx, localhost, withToken(token, fromPeer(comesFrom(t, "127.0.0.1"))), dial)
	if err != nil {
		t.Fatal(err)
	}
	silent := knocks(t, once.Address, nil)
	for what, says := range map[string][]byte{
		"no token": looks, "a name": browserAsks, "another token": asks(routing()), "part of it": asks(token[:len(token)-1]), "more": asks(token + "A"),
		"no RDP": []byte("GET / HTTP/1.1\r\n\r\n"), "a long one": append([]byte{3, 0, 0xff, 0xff}, make([]byte, 300)...),
	} {
		if !cut(knocks(t, once.Address, says)) {
			t.Errorf("%s is let through", what)
		}
	}
	if n := dialled.Load(); n != 0 {
		t.Errorf("the device was dialled %d times for strangers", n)
	}
	guacd := knocks(t, once.Address, asks(token))
	if confirm, err := rdcleanpath.ReadX224(guacd); err != nil {
		t.Errorf("%x, %v", confirm, err)
	}
	if seen := d.requests(); len(seen) != 1 || string(seen[0]) != string(looks) {
		t.Errorf("the device saw %x", seen)
	}
	if second, err := net.Dial("tcp", once.Address.String()); err == nil {
		second.Close()
		t.Error("a second connection was taken")
	}
	if !cut(silent) || dialled.Load() != 1 {
		t.Errorf("%d connections to the device", dialled.Load())
	}
	cancel()
	once.done.Wait()
	elsewhere.done.Wait()
	if _, err := io.Copy(io.Discard, guacd); err != nil {
		t.Log("guacd hears", err)
	}
}

// asks is looks with a routing token, as FreeRDP sends it.
func asks(token string) []byte {
	line := token + "\r\n"
	b := append([]byte(nil), looks[:11]...)
	b = append(append(b, line...), looks[11:]...)
	b[3], b[4] = byte(len(b)), byte(len(b)-5)
	return b
}
