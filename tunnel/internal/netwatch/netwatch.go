// Package netwatch tells when the addresses of this host have changed.
package netwatch

import (
	"context"
	"net"
	"slices"
	"strings"
	"time"
)

// settle is how long the addresses must be quiet: a link that comes up changes
// them several times.
const settle = 200 * time.Millisecond

// Watch calls changed, until ctx ends, after each change of the host's usable
// addresses; those that ignore reports do not count. It returns when ctx has
// ended.
func Watch(ctx context.Context, ignore func(net.IP) bool, changed func()) {
	before := addresses(ignore)
	hints, stop := hints()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hints:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(settle):
		}
		if now := addresses(ignore); now != before {
			before = now
			changed()
		}
	}
}

// addresses is a text that differs when the addresses do.
func addresses(ignore func(net.IP) bool) string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	var list []string
	for _, a := range all {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.IsLoopback() || ip.IP.IsLinkLocalUnicast() || ignore(ip.IP) {
			continue
		}
		list = append(list, a.String())
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// poll hints every so often, for systems or moments that cannot tell.
func poll() (<-chan struct{}, func()) {
	ch, done := make(chan struct{}, 1), make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				select {
				case ch <- struct{}{}:
				default:
				}
			case <-done:
				return
			}
		}
	}()
	return ch, func() { close(done); <-stopped }
}
