//go:build !windows

package bind

import (
	"net/netip"

	"golang.zx2c4.com/wireguard/conn"
)

// An origin reads the addresses of what one receiver receives.
type origin struct{}

func (*origin) addrPort(ep conn.Endpoint) netip.AddrPort { return addrPortOf(ep) }
