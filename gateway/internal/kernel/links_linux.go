package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// links are the two interfaces.
type links struct {
	cfg       *Config
	nl        *netlink.Handle
	devices   netlink.Link
	operators netlink.Link
	port      uint16
	entry     uint16
	made      []netlink.Link // by this process
	routes    map[netip.Addr]bool
}

// linkGroup marks an interface from its first moment as made for a node. Until it has
// the node's key nothing else does.
const linkGroup = 0x62776e // "bwn"

func openLinks(cfg *Config, wg *wgctrl.Client) (*links, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("kernel: netlink: %w", err)
	}
	l := &links{cfg: cfg, nl: nl, routes: make(map[netip.Addr]bool)}
	if l.devices, err = l.open(cfg.Devices, wg); err == nil {
		l.operators, err = l.open(cfg.Operators, wg)
	}
	if err == nil {
		err = l.settle()
	}
	if err != nil {
		l.close(l.made...)
		return nil, err
	}
	return l, nil
}

// open finds the interface that a former process of this node left, or makes it.
func (l *links) open(name string, wg *wgctrl.Client) (netlink.Link, error) {
	link, err := l.nl.LinkByName(name)
	if err == nil {
		return link, l.ours(link, wg)
	}
	if !errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, fmt.Errorf("kernel: %s: %w", name, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Group = name, l.cfg.MTU, linkGroup
	if err := l.nl.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs}); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			err = fmt.Errorf("this kernel has no WireGuard: %w", errors.ErrUnsupported)
		}
		return nil, fmt.Errorf("kernel: make %s: %w", name, err)
	}
	if link, err = l.nl.LinkByName(name); err != nil {
		return nil, fmt.Errorf("kernel: %s: %w", name, err)
	}
	l.made = append(l.made, link)
	return link, nil
}

// ours refuses an interface that is somebody else's: ours has the node's key, or was
// made for a node that had no time to give it one.
func (l *links) ours(link netlink.Link, wg *wgctrl.Client) error {
	name := link.Attrs().Name
	switch {
	case l.cfg.found:
		return nil
	case link.Type() != "wireguard":
		return fmt.Errorf("kernel: the interface %s is there, and not WireGuard's", name)
	}
	d, err := wg.Device(name)
	if err != nil {
		return fmt.Errorf("kernel: %s: %w", name, err)
	}
	if d.PublicKey == wgtypes.Key(l.cfg.PrivateKey).PublicKey() || d.PublicKey == (wgtypes.Key{}) && link.Attrs().Group == linkGroup {
		return nil
	}
	return fmt.Errorf("kernel: the interface %s is there with another WireGuard key than this node's; if no other program and no other node of this host needs it: ip link delete %s", name, name)
}

// settle gives the interfaces what does not depend on sessions. They stay down
// until raise.
func (l *links) settle() error {
	for _, link := range []netlink.Link{l.devices, l.operators} {
		name := link.Attrs().Name
		if err := l.nl.LinkSetMTU(link, l.cfg.MTU); err != nil {
			return fmt.Errorf("kernel: MTU of %s: %w", name, err)
		}
		// Packets stay as they arrived: the filter refuses what is longer than the MTU,
		// and sessions take turns by bytes.
		if err := l.nl.LinkSetGROMaxSize(link, l.cfg.MTU); err != nil {
			return fmt.Errorf("kernel: offload of %s: %w", name, err)
		}
		if now, err := l.nl.LinkByIndex(link.Attrs().Index); err != nil {
			return fmt.Errorf("kernel: %s: %w", name, err)
		} else if got := now.Attrs().GROMaxSize; got != uint32(l.cfg.MTU) && !l.cfg.found {
			return fmt.Errorf("kernel: offload of %s cannot be bounded, which Linux 5.19 can: %w", name, errors.ErrUnsupported)
		}
		// Forwarding is asked of the interface that a packet came by, so the host's
		// own setting can stay as it is.
		for key, value := range map[string]string{"forwarding": "1", "rp_filter": "0", "accept_redirects": "0", "send_redirects": "0"} {
			if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/"+key, []byte(value), 0); err != nil {
				return fmt.Errorf("kernel: %s of %s: %w", key, name, err)
			}
		}
	}
	return nil
}

// raise brings the interfaces up with key and ports, and the addresses and routes
// that all sessions share.
func (l *links) raise(wg *wgctrl.Client) error {
	key := wgtypes.Key(l.cfg.PrivateKey)
	listen := int(l.cfg.Listen)
	var err error
	if l.port, err = l.listen(wg, l.devices, &key, listen); err != nil {
		return err
	}
	if l.entry, err = l.listen(wg, l.operators, &key, int(l.port)+1); err != nil && listen == 0 {
		l.entry, err = l.listen(wg, l.operators, &key, 0)
	}
	if err != nil {
		return err
	}
	if err := l.setProof(netip.Addr{}, l.cfg.Proof); err != nil {
		return err
	}
	return l.routePool(l.cfg.Pool)
}

// routePool sends all tunnel addresses to the devices' interface.
func (l *links) routePool(pool netip.Prefix) error {
	dst := &net.IPNet{IP: pool.Addr().AsSlice(), Mask: net.CIDRMask(pool.Bits(), 32)}
	if err := l.nl.RouteReplace(&netlink.Route{LinkIndex: l.devices.Attrs().Index, Dst: dst, Scope: netlink.SCOPE_LINK}); err != nil {
		return fmt.Errorf("kernel: the route to %v: %w", pool, err)
	}
	return nil
}

// listen brings one interface up on a port, and returns the one that it has.
func (l *links) listen(wg *wgctrl.Client, link netlink.Link, key *wgtypes.Key, port int) (uint16, error) {
	name := link.Attrs().Name
	d, err := wg.Device(name)
	if err != nil {
		return 0, fmt.Errorf("kernel: %s: %w", name, err)
	}
	cfg := wgtypes.Config{}
	// The public ones are compared, since WireGuard may not have the private one as it was
	// said, and setting it again ends the keys in use.
	if d.PublicKey != key.PublicKey() {
		cfg.PrivateKey = key
	}
	if port > 1<<16-1 {
		port = 0
	}
	if d.ListenPort != port && (port != 0 || d.ListenPort == 0) {
		cfg.ListenPort = &port
	}
	if cfg.PrivateKey != nil || cfg.ListenPort != nil {
		if err := wg.ConfigureDevice(name, cfg); err != nil {
			return 0, fmt.Errorf("kernel: %s on port %d: %w", name, port, err)
		}
	}
	if err := l.nl.LinkSetUp(link); err != nil {
		return 0, fmt.Errorf("kernel: %s on port %d: %w", name, port, err)
	}
	if d, err = wg.Device(name); err != nil {
		return 0, fmt.Errorf("kernel: %s: %w", name, err)
	}
	return uint16(d.ListenPort), nil
}

// setProof moves the node's own address. The new one comes first: an interface that
// loses its last address loses its routes as well.
func (l *links) setProof(old, now netip.Addr) error {
	if err := l.nl.AddrReplace(l.devices, address(now)); err != nil {
		return fmt.Errorf("kernel: the address %v: %w", now, err)
	}
	if !old.IsValid() {
		return nil
	}
	if err := l.nl.AddrDel(l.devices, address(old)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("kernel: the address %v: %w", old, err)
	}
	return nil
}

func address(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)}}
}

// route sends an operator's address to the operators' interface.
func (l *links) route(a netip.Addr) error {
	if l.routes[a] {
		return nil
	}
	if err := l.nl.RouteReplace(l.host(a)); err != nil {
		return fmt.Errorf("kernel: the route to %v: %w", a, err)
	}
	l.routes[a] = true
	return nil
}

func (l *links) unroute(a netip.Addr) {
	if l.routes[a] {
		delete(l.routes, a)
		_ = l.nl.RouteDel(l.host(a)) // gone already: as it should be
	}
}

func (l *links) host(a netip.Addr) *netlink.Route {
	return &netlink.Route{LinkIndex: l.operators.Attrs().Index, Dst: address(a).IPNet, Scope: netlink.SCOPE_LINK}
}

// learnRoutes reads the operators' routes that a former process left.
func (l *links) learnRoutes() error {
	list, err := l.nl.RouteListFiltered(unix.AF_INET, &netlink.Route{LinkIndex: l.operators.Attrs().Index}, netlink.RT_FILTER_OIF)
	if err != nil {
		return fmt.Errorf("kernel: routes: %w", err)
	}
	for _, r := range list {
		if r.Dst == nil {
			continue
		}
		if a, ok := netip.AddrFromSlice(r.Dst.IP); ok {
			l.routes[a.Unmap()] = true
		}
	}
	return nil
}

// spoofed counts packets whose source was not their peer's.
func (l *links) spoofed() (n uint64) {
	for _, link := range []netlink.Link{l.devices, l.operators} {
		now, err := l.nl.LinkByIndex(link.Attrs().Index)
		if err == nil && now.Attrs().Statistics != nil {
			n += now.Attrs().Statistics.RxFrameErrors
		}
	}
	return n
}

// lower lets nothing more pass.
func (l *links) lower() {
	for _, link := range []netlink.Link{l.devices, l.operators} {
		_ = l.nl.LinkSetDown(link)
	}
}

// close takes some of the interfaces away. Their peers must be gone: a link with
// thousands of them takes minutes to end.
func (l *links) close(remove ...netlink.Link) {
	for _, link := range remove {
		if !l.cfg.found {
			_ = l.nl.LinkDel(link)
		}
	}
	l.nl.Close()
}
