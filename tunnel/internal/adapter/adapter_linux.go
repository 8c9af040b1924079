package adapter

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// An Adapter is one network interface.
type Adapter struct {
	dev  tun.Device
	name string
	link netlink.Link

	mu  sync.Mutex
	own []netip.Addr
	far []netip.Addr
}

// Create makes an interface, down and without addresses, after it has looked
// that none of own and far is in use on this host. An empty name takes the next
// of bw0, bw1, ... The Device belongs to whoever reads it; Close does not close
// it.
func Create(name string, mtu int, own, far []netip.Addr) (*Adapter, error) {
	if name == "" {
		name = "bw%d" // the kernel puts the number in
	}
	for _, a := range slices.Concat(own, far) {
		if err := overlap(a); err != nil {
			return nil, err
		}
	}
	dev, err := tun.CreateTUN(name, mtu)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	a := &Adapter{dev: dev}
	if a.name, err = dev.Name(); err == nil {
		a.link, err = netlink.LinkByName(a.name)
	}
	if err != nil {
		_ = dev.Close()
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	return a, nil
}

// overlap reports how a is in use on this host.
func overlap(a netip.Addr) error {
	addrs, err := netlink.AddrList(nil, family(a))
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, have := range addrs {
		if have.IPNet.Contains(a.AsSlice()) {
			return fmt.Errorf("%w: %v is in %v of %s", ErrOverlap, a, have.IPNet, nameOf(have.LinkIndex))
		}
	}
	routes, err := netlink.RouteList(nil, family(a))
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, have := range routes {
		if have.Dst == nil || have.Table != unix.RT_TABLE_MAIN {
			continue
		}
		if ones, _ := have.Dst.Mask.Size(); ones > 0 && have.Dst.Contains(a.AsSlice()) {
			return fmt.Errorf("%w: a route to %v, where %v is, leads to %s", ErrOverlap, have.Dst, a, nameOf(have.LinkIndex))
		}
	}
	return nil
}

func nameOf(index int) string {
	if l, err := netlink.LinkByIndex(index); err == nil {
		return l.Attrs().Name
	}
	return fmt.Sprintf("interface %d", index)
}

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func host(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

// Name returns the interface's name.
func (a *Adapter) Name() string { return a.name }

// Device returns what WireGuard reads and writes.
func (a *Adapter) Device() tun.Device { return a.dev }

// Up gives the interface its own addresses, sets it up and routes far to it.
func (a *Adapter) Up(own, far []netip.Addr) error {
	for _, addr := range own {
		add := &netlink.Addr{IPNet: host(addr)}
		if addr.Is6() {
			add.Flags = unix.IFA_F_NODAD // nobody else is on this wire
		}
		if err := netlink.AddrAdd(a.link, add); err != nil {
			return fmt.Errorf("add address %v: %w", addr, err)
		}
	}
	if err := netlink.LinkSetUp(a.link); err != nil {
		return fmt.Errorf("set %s up: %w", a.name, err)
	}
	a.mu.Lock()
	a.own = slices.Clone(own)
	a.mu.Unlock()
	return a.SetFar(far)
}

// SetFar replaces the routes by one to each of far.
func (a *Adapter) SetFar(far []netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, addr := range far {
		if slices.Contains(a.far, addr) {
			continue
		}
		if err := overlap(addr); err != nil {
			return err
		}
		if err := netlink.RouteAdd(a.route(addr)); err != nil {
			return fmt.Errorf("add route to %v: %w", addr, err)
		}
		a.far = append(a.far, addr)
	}
	for _, addr := range slices.Clone(a.far) {
		if slices.Contains(far, addr) {
			continue
		}
		if err := netlink.RouteDel(a.route(addr)); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove route to %v: %w", addr, err)
		}
		a.far = slices.DeleteFunc(a.far, func(have netip.Addr) bool { return have == addr })
	}
	return nil
}

func (a *Adapter) route(to netip.Addr) *netlink.Route {
	r := &netlink.Route{LinkIndex: a.link.Attrs().Index, Dst: host(to), Scope: netlink.SCOPE_LINK}
	for _, own := range a.own {
		if own.Is4() == to.Is4() {
			r.Src = own.AsSlice()
			break
		}
	}
	return r
}

// SetMTU sets the interface's MTU.
func (a *Adapter) SetMTU(mtu int) error {
	if err := netlink.LinkSetMTU(a.link, mtu); err != nil {
		return fmt.Errorf("set MTU of %s: %w", a.name, err)
	}
	return nil
}

// Close waits, after the Device was closed, until the system has taken the
// interface away, at most two seconds: it does so in the background.
func (a *Adapter) Close() error {
	_ = a.dev.Close()
	for range 200 {
		if _, err := netlink.LinkByIndex(a.link.Attrs().Index); err != nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%s is still there", a.name)
}
