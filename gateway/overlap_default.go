//go:build !linux

package gateway

import "net/netip"

// hostRoutes is empty where no library of ours reads routes; hostPrefixes finds
// the networks that the host is part of.
func hostRoutes() []netip.Prefix { return nil }
