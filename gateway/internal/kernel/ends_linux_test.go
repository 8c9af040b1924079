package kernel

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/packet"
)

// keyPair is an end's, or the node's.
type keyPair struct{ private, public [32]byte }

func newKey() (k keyPair) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	copy(k.private[:], private.Bytes())
	copy(k.public[:], private.PublicKey().Bytes())
	return k
}

// session is number n, with the keys of its ends.
func described(n int) (s reach.Session, dev, op keyPair) {
	dev, op = newKey(), newKey()
	return reach.Session{
		ID:        fmt.Sprintf("session-%d", n),
		Device:    reach.Device{Key: dev.public, Addresses: []netip.Addr{numbered(1, n)}},
		Operators: []reach.Operator{{Key: op.public, Address: numbered(192, n), Ports: []reach.Port{{Proto: packet.TCP, Number: 22}, {Proto: packet.TCP, Number: 3389}}}},
		End:       time.Now().Add(time.Hour),
	}, dev, op
}

func numbered(net byte, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 166, net + byte(n>>8), byte(n)})
}

// end is a device or an operator: wireguard-go with TCP/IP behind it.
type end struct {
	device *device.Device
	net    *netstack.Net
}

func newEnd(t testing.TB, key keyPair, node [32]byte, port uint16, a netip.Addr) *end {
	t.Helper()
	tun, network, err := netstack.CreateNetTUN([]netip.Addr{a}, nil, DefaultMTU)
	if err != nil {
		t.Fatal(err)
	}
	d := device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	t.Cleanup(d.Close)
	err = d.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=127.0.0.1:%d\nallowed_ip=0.0.0.0/0\npersistent_keepalive_interval=5\n",
		hex.EncodeToString(key.private[:]), hex.EncodeToString(node[:]), port))
	if err == nil {
		err = d.Up()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &end{d, network}
}

// echoes serves an echo at a port of the end.
func (e *end) echoes(t testing.TB, port int) {
	t.Helper()
	l, err := e.net.ListenTCP(&net.TCPAddr{Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
}

// pinged reports whether an echo of so many bytes comes back.
func (e *end) pinged(t testing.TB, to netip.Addr, size int) bool {
	t.Helper()
	request := make([]byte, size)
	request[0] = packet.EchoRequest
	binary.BigEndian.PutUint16(request[2:], packet.Checksum(request, 0))
	// A socket whose answer comes before anybody waits for it never says that it is there.
	ping := func() (n int, err error) {
		c, err := e.net.DialPingAddr(netip.Addr{}, to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(2 * time.Second)) // one may get lost
		return c.Read(make([]byte, 2*size))
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if n, err := ping(); err == nil {
			return n == size
		}
	}
	return false
}

const patience = time.Minute

// dial connects to another end.
func (e *end) dial(t testing.TB, to netip.Addr, port uint16) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := e.net.DialContextTCPAddrPort(ctx, netip.AddrPortFrom(to, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// works passes bytes to an echo and back.
func works(t testing.TB, what string, c net.Conn, size int) {
	t.Helper()
	sent := make([]byte, size)
	rand.Read(sent)
	c.SetDeadline(time.Now().Add(patience))
	go c.Write(sent)
	got := make([]byte, size)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != string(sent) {
		t.Fatalf("%s: %v", what, err)
	}
}
