package tunnel

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/keys"
)

var (
	deviceAddr   = netip.MustParseAddr("10.166.0.5")
	operatorAddr = netip.MustParseAddr("10.166.255.9")
)

// patience is ten times and more what anything here takes.
const patience = 20 * time.Second

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	return ctx
}

func testLog(t *testing.T) *zap.Logger {
	if testing.Verbose() {
		return zaptest.NewLogger(t)
	}
	return nil
}

// ports counts on from somewhere, so that no two of a test are one.
var ports atomic.Uint32

func init() { ports.Store(rand.Uint32()) }

// freePort is a UDP port that was free a moment ago, below those that the system
// gives to whoever asks for any.
func freePort(t *testing.T) uint16 {
	for range 100 {
		port := 10000 + int(ports.Add(1)%20000)
		if c, err := net.ListenUDP("udp", &net.UDPAddr{Port: port}); err == nil {
			_ = c.Close()
			return uint16(port)
		}
	}
	t.Fatal("no free port")
	return 0
}

func loopback(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
}

// pair is the configs of the two ends of an end-to-end tunnel over 127.0.0.1.
func pair(t *testing.T, ports ...keys.Port) (device, operator *Config) {
	dk, ok := keys.NewPrivateKey(), keys.NewPrivateKey()
	dp, op := freePort(t), freePort(t)
	device = &Config{
		Role: Device, Key: dk, Addresses: []netip.Addr{deviceAddr}, Listen: dp,
		Far:       Peer{Key: ok.Public(), Allowed: []netip.Addr{operatorAddr}, Proof: operatorAddr, Initiates: true},
		Operators: []keys.Operator{{ID: "o", Key: ok.Public(), Address: operatorAddr, Ports: ports}},
		Paths:     []Path{{Addr: loopback(op)}}, Mode: Driverless, Logger: testLog(t),
	}
	operator = &Config{
		Role: Operator, Key: ok, Addresses: []netip.Addr{operatorAddr}, Listen: op,
		Far:   Peer{Key: dk.Public(), Allowed: []netip.Addr{deviceAddr}, Proof: deviceAddr},
		Paths: []Path{{Addr: loopback(dp)}}, Mode: Driverless, Logger: testLog(t),
	}
	return device, operator
}

// up brings a tunnel up and takes it down at the test's end.
func up(t *testing.T, c *Config) *Tunnel {
	t.Helper()
	tn, err := Up(testContext(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tn.Close() })
	return tn
}

func ready(t *testing.T, ts ...*Tunnel) {
	t.Helper()
	for _, tn := range ts {
		if err := tn.Ready(testContext(t)); err != nil {
			t.Fatalf("ready: %v; %+v", err, tn.Status())
		}
	}
}

// echoServer serves TCP on 127.0.0.1 with handle until the test's end.
func serveTCP(t *testing.T, handle func(*net.TCPConn)) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c.(*net.TCPConn))
			}()
		}
	}()
	return l.Addr().String()
}

// noLeaks checks, after everything else of the test, that it left no goroutine.
// It comes first in a test.
func noLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.None(t, before) })
}

var (
	zero   netip.Addr
	six    = netip.MustParseAddr("fd66::9")
	mapped = netip.MustParseAddr("::ffff:10.0.0.1")
)
