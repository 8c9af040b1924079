package planetest

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"

	"github.com/boothwire/boothwire/internal/packet"
)

// clientMTU is beyond any plane's, so that clients can send what is too long.
const clientMTU = 4200

// keyPair is a WireGuard key.
type keyPair struct{ private, public [32]byte }

func newKey(t testing.TB) keyPair {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{[32]byte(k.Bytes()), [32]byte(k.PublicKey().Bytes())}
}

// client is one end of a session: a device's or an operator's.
type client struct {
	*tap
	t       testing.TB
	address netip.Addr
	proof   netip.Addr
	net     *stack // nil: packets come and go raw only
	echoes  uint16
	began   atomic.Int64 // handshakes
}

// newClient makes a client that sends all that it has to the node at port.
func newClient(t testing.TB, key keyPair, node [32]byte, port uint16, address, proof netip.Addr) *client {
	t.Helper()
	c := &client{tap: newTap(clientMTU), t: t, address: address, proof: proof}
	log := &device.Logger{Errorf: device.DiscardLogf, Verbosef: func(format string, _ ...any) {
		if format == "%v - Sending handshake initiation" {
			c.began.Add(1)
		}
	}}
	d := device.NewDevice(c.tap, conn.NewDefaultBind(), log)
	t.Cleanup(func() {
		if c.net != nil {
			c.net.close()
		}
		d.Close()
	})
	var conf strings.Builder
	fmt.Fprintf(&conf, "private_key=%s\npublic_key=%s\n", hex.EncodeToString(key.private[:]), hex.EncodeToString(node[:]))
	fmt.Fprintf(&conf, "endpoint=127.0.0.1:%d\nallowed_ip=0.0.0.0/0\nallowed_ip=::/0\n", port)
	err := d.IpcSet(conf.String())
	if err == nil {
		err = d.Up()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// withStack puts TCP/IP behind the client.
func (c *client) withStack() *client {
	c.t.Helper()
	if c.net == nil {
		s, err := newStack(c.tap, c.address)
		if err != nil {
			c.t.Fatal(err)
		}
		c.net = s
	}
	return c
}

// echoID names the suite's own echoes to the node.
const echoID = 0xb00c

// answered reports whether the node answers an echo before limit has passed, be it late.
func (c *client) answered(limit time.Duration) bool {
	c.t.Helper()
	const again = 2 * time.Second // something of a handshake may get lost
	first, mark := c.echoes+1, c.mark()
	for end := time.Now().Add(limit); time.Now().Before(end); {
		c.echoes++
		seq := c.echoes
		c.send(packet.AppendEcho(nil, c.address, c.proof, echoID, seq, nil, 84))
		if c.wait(mark, min(again, limit), func(p *packet.Info, b []byte) bool {
			return p.IsEchoReply() && p.Src == c.proof && p.Dst == c.address && p.ID == echoID && p.Seq >= first && packet.EchoValid(b, p)
		}) {
			return true
		}
	}
	return false
}

// fence returns when everything that the client sent before, and everything that
// was on its way to the client, has been through the plane.
func (c *client) fence() {
	c.t.Helper()
	if !c.answered(patience) {
		c.t.Fatalf("no answer from %v to %v", c.proof, c.address)
	}
}

// strangers returns what arrived from mark on, but for the node's answers to the
// client's own echoes.
func (c *client) strangers(mark int) (list [][]byte) {
	all, _ := c.since(mark)
	for _, b := range all {
		var p packet.Info
		if !packet.Parse(b, &p) || !c.own(&p) {
			list = append(list, b)
		}
	}
	return list
}

// own reports whether p is the node's answer to an echo of the suite.
func (c *client) own(p *packet.Info) bool {
	return p.IsEchoReply() && p.Src == c.proof && p.ID == echoID
}

// gets waits for one packet that differs from sent by the hop alone.
func (c *client) gets(mark int, sent []byte) {
	c.t.Helper()
	want := append([]byte(nil), sent...)
	packet.Hop(want)
	if !c.wait(mark, patience, func(_ *packet.Info, b []byte) bool { return string(b) == string(want) }) {
		got, _ := c.since(mark)
		c.t.Errorf("%v did not get\n%x; it got\n%x", c.address, want, got)
	}
}

// dial connects to a port of another client's stack.
func (c *client) dial(to *client, port uint16) net.Conn {
	c.t.Helper()
	conn, err := c.withStack().net.dial(patience, to.address, port)
	if err != nil {
		c.t.Fatalf("%v to %v, port %d: %v", c.address, to.address, port, err)
	}
	c.t.Cleanup(func() { conn.Close() })
	return conn
}

// works passes bytes through a connection to an echo and back.
func (c *client) works(what string, conn net.Conn) {
	c.t.Helper()
	b := make([]byte, 3000)
	rand.Read(b)
	conn.SetDeadline(time.Now().Add(patience))
	defer conn.SetDeadline(time.Time{})
	if _, err := conn.Write(b); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
	got := make([]byte, len(b))
	for n := 0; n < len(got); {
		m, err := conn.Read(got[n:])
		if err != nil {
			c.t.Fatalf("%s: %d bytes came back, then %v", what, n, err)
		}
		n += m
	}
	if string(got) != string(b) {
		c.t.Fatalf("%s: other bytes came back", what)
	}
}
