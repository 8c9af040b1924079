//go:build linux

package wgbench

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel"
)

// device makes r's WireGuard device, not yet configured.
func (r *role) device(nic tun.Device, b conn.Bind) *device.Device {
	return device.NewDevice(nic, b, &device.Logger{
		Verbosef: device.DiscardLogf,
		Errorf:   log.New(os.Stderr, "", log.Ltime).Printf, // stdout is for reports
	})
}

// lines configure it.
func (r *role) lines(endpoint string) string {
	return fmt.Sprintf("private_key=%s\nlisten_port=%d\npublic_key=%s\nendpoint=%s\nallowed_ip=%v/32\n",
		r.Private, port, r.Public, endpoint, r.Far)
}

// patience is how long an end without a TUN may take to call its far end.
const patience = 20 * time.Second

// driverless brings a tunnel up as an operator without an adapter has it, filter and
// watchdog included, and calls the far end.
func (r *role) driverless(bytes *atomic.Int64) (stop func(), err error) {
	private, err := hex.DecodeString(r.Private)
	if err != nil {
		return nil, err
	}
	key, err := keys.ParsePrivateKey(base64.StdEncoding.EncodeToString(private))
	if err != nil {
		return nil, err
	}
	public, err := hex.DecodeString(r.Public)
	if err != nil {
		return nil, err
	}
	to, err := netip.ParseAddrPort(r.TCP)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	t, err := tunnel.Up(ctx, &tunnel.Config{
		Role: tunnel.Operator, Mode: tunnel.Driverless, MTU: mtu, Listen: port, Idle: -1,
		Key: key, Addresses: []netip.Addr{r.Own},
		Far:   tunnel.Peer{Key: keys.PublicKey(public), Allowed: []netip.Addr{r.Far}, Proof: r.Far},
		Paths: []tunnel.Path{{Addr: r.Path}},
		Ports: []keys.Port{keys.TCP(to.Port())},
	})
	if err != nil {
		return nil, err
	}
	c, err := t.Dial(ctx, "tcp", r.TCP)
	if err != nil {
		_ = t.Close()
		return nil, err
	}
	go pass(c, r.Reads, bytes)
	return func() { _ = t.Close() }, nil
}

// upstream is the same with nothing but what WireGuard brings along.
func (r *role) upstream(bytes *atomic.Int64) (stop func(), err error) {
	nic, stack, err := netstack.CreateNetTUN([]netip.Addr{r.Own}, nil, mtu)
	if err != nil {
		return nil, err
	}
	dev := r.device(nic, conn.NewDefaultBind())
	var c net.Conn
	if err = dev.IpcSet(r.lines(r.Path.String())); err == nil {
		err = dev.Up()
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c, err = stack.DialContext(ctx, "tcp", r.TCP)
	}
	if err != nil {
		dev.Close()
		return nil, err
	}
	go pass(c, r.Reads, bytes)
	return func() {}, nil // its Close can wait for ever
}
