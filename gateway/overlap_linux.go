package gateway

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// hostRoutes are the destinations of the host's routes, without default routes.
func hostRoutes() []netip.Prefix {
	list, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil
	}
	var found []netip.Prefix
	for _, r := range list {
		if r.Dst == nil {
			continue
		}
		a, ok := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		if p, err := a.Unmap().Prefix(bits); ok && err == nil {
			found = append(found, p)
		}
	}
	return found
}
