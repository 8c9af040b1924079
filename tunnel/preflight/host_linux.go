package preflight

import (
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func networks() ([]netip.Prefix, error) {
	list, err := interfaces()
	if err != nil {
		return nil, err
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		if r.Dst == nil || ofOurs(r.LinkIndex) {
			continue
		}
		ones, _ := r.Dst.Mask.Size()
		if a, ok := netip.AddrFromSlice(r.Dst.IP); ok && ones > 0 {
			list = append(list, netip.PrefixFrom(a.Unmap(), ones))
		}
	}
	return list, nil
}

func ofOurs(link int) bool {
	l, err := netlink.LinkByIndex(link)
	return err == nil && ownName(l.Attrs().Name)
}

func adapter() (code string) {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		if os.IsPermission(err) {
			return "no_rights"
		}
		return "no_driver"
	}
	_ = f.Close() // nothing was made yet
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil || data[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return "no_rights"
	}
	return ""
}

func rdp() (rdpFacts, error) { return rdpFacts{}, errNotHere }

func profiles() ([]profile, error) { return nil, errPrivileges }
