package tunnel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// silence is how long a test waits for what should not come.
const silence = 400 * time.Millisecond

func dials(t *testing.T, o *Tunnel, address string, within time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	c, err := o.Dial(ctx, "tcp", address)
	if err == nil {
		_ = c.Close()
	}
	return err
}

// TestUpdatePorts widens and narrows what the operator may reach.
func TestUpdatePorts(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t, keys.TCP(22))
	served := make(chan error, 10)
	address := serveTCP(t, func(c *net.TCPConn) {
		for {
			if _, err := c.Read(make([]byte, 1)); err != nil {
				served <- err
				return
			}
			_, _ = c.Write([]byte("."))
		}
	})
	device.Services = map[keys.Port]string{keys.TCP(22): address, keys.TCP(445): address}
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	if err := dials(t, o, ":445", silence); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before the grant: %v", err)
	}
	held, err := o.Dial(testContext(t), "tcp", ":22") // a connection to the port that goes
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	_, _ = held.Write([]byte("x"))
	if _, err := held.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	wide := *device
	wide.Operators = []keys.Operator{{ID: "o", Address: operatorAddr, Ports: []keys.Port{keys.TCP(445)}}}
	wide.Lifetime = time.Hour
	if err := d.Update(testContext(t), &wide); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-served:
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the service's connection ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("the service waits for an operator who may not come any more")
	}
	if err := dials(t, o, ":445", patience); err != nil {
		t.Errorf("after the grant: %v", err)
	}
	if err := dials(t, o, ":22", silence); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a port that was taken away: %v", err)
	}
	if left := d.Status().Left; left <= 0 || left > time.Hour {
		t.Errorf("%v left", left)
	}
	wide.Lifetime = time.Nanosecond // over
	if err := d.Update(testContext(t), &wide); err != nil && !errors.Is(err, ErrLifetime) {
		t.Fatal(err)
	}
	<-d.Done()
	if !errors.Is(d.Err(), ErrLifetime) {
		t.Errorf("got %v", d.Err())
	}
	other := *device
	other.Addresses = []netip.Addr{netip.MustParseAddr("10.166.0.6")}
	if err := o.Update(testContext(t), &other); err == nil {
		t.Error("the addresses changed")
	}
}

// TestRekey gives the device another key in the middle of a connection, the far
// end first.
func TestRekey(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t, keys.TCP(22))
	withEcho(t, device)
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	say := bounce(t, o)
	if err := say("before"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		device.Key = keys.NewPrivateKey()
		operator.Far.Key = device.Key.Public()
		if err := o.Update(testContext(t), operator); err != nil {
			t.Fatal(err)
		}
		if err := d.Update(testContext(t), device); err != nil {
			t.Fatal(err)
		}
		if err := say("after"); err != nil {
			t.Fatal(err)
		}
	}
}

// nodePair is a device and two ends that stand for nodes, each with a proof
// address and the operator's behind it.
func nodePair(t *testing.T) (device *Config, nodes [2]*Config) {
	device, _ = pair(t, keys.TCP(22))
	withEcho(t, device)
	device.Far.Initiates = false
	for i := range nodes {
		port, key := freePort(t), keys.NewPrivateKey()
		proof := netip.AddrFrom4([4]byte{10, 166, 254, byte(i + 1)})
		nodes[i] = &Config{
			Role: Operator, Key: key, Addresses: []netip.Addr{operatorAddr, proof}, Listen: port,
			Far:  Peer{Key: device.Key.Public(), Allowed: []netip.Addr{deviceAddr}, Proof: deviceAddr},
			Mode: Driverless, Logger: testLog(t),
		}
	}
	at(device, nodes[0])
	return device, nodes
}

// at points a device's config to a node.
func at(device, node *Config) {
	device.Far.Key, device.Far.Proof = node.Key.Public(), node.Addresses[1]
	device.Far.Allowed = []netip.Addr{operatorAddr}
	device.Paths = []Path{{Addr: loopback(node.Listen)}}
}

// TestMove moves a device from one node to another, with a try in between that
// finds nobody.
func TestMove(t *testing.T) {
	noLeaks(t)
	device, nodes := nodePair(t)
	first := up(t, nodes[0])
	d := up(t, device)
	ready(t, d, first)

	moved := *device
	at(&moved, nodes[1])
	short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := d.Update(short, &moved); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a move to nobody: %v", err)
	}
	if s := d.Status(); s.State != Connected || s.Remote != device.Paths[0].Addr.String() {
		t.Errorf("after a move to nobody: %+v", s)
	}
	second := up(t, nodes[1])
	if err := d.Update(testContext(t), &moved); err != nil {
		t.Fatal(err)
	}
	ready(t, second)
	if s := d.Status(); s.State != Connected || s.Remote != moved.Paths[0].Addr.String() {
		t.Errorf("after the move: %+v", s)
	}
	_ = first.Close()
	if err := bounce(t, second)("by the other way"); err != nil {
		t.Error(err)
	}
	for e := range d.Events(ended()) {
		if e.Kind == EventUnproved {
			t.Error("the move broke the tunnel")
		}
	}
}
