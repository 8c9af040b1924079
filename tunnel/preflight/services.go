package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/boothwire/boothwire/keys"
)

// Service is the name of the check of what listens at a TCP port: ssh, smb and rdp have
// names, others are tcp_8080 and the like.
func Service(port uint16) string {
	switch port {
	case 22:
		return "ssh"
	case 445:
		return "smb"
	case 3389:
		return "rdp"
	}
	return fmt.Sprintf("tcp_%d", port)
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// service is one that the host offers.
type service struct{ name, address string }

// offered are the services that are looked at, in the order of their ports, at an address
// of this host where the configuration names none.
func (c *Config) offered(own netip.Addr) []service {
	ports := slices.Clone(c.Ports)
	if len(ports) == 0 {
		ports = slices.Collect(maps.Keys(c.Services))
	}
	if len(ports) == 0 {
		ports = []keys.Port{keys.TCP(22), keys.TCP(445), keys.TCP(3389)}
	}
	ports = slices.DeleteFunc(ports, func(p keys.Port) bool { return p.Proto != "tcp" })
	slices.SortFunc(ports, func(a, b keys.Port) int { return cmp.Compare(a.Number, b.Number) })
	ports = slices.Compact(ports)
	var all []service
	for _, p := range ports[:min(len(ports), maxServices)] {
		at := c.Services[p]
		if at == "" {
			at = netip.AddrPortFrom(own, p.Number).String()
		}
		all = append(all, service{Service(p.Number), at})
	}
	return all
}

// offers reports whether a port is one of those.
func (c *Config) offers(port uint16) bool {
	return slices.ContainsFunc(c.offered(loopback), func(s service) bool { return s.name == Service(port) })
}

// Windows has errors of its own for these, beside those that Go invents for it.
const (
	wsaRefused   = syscall.Errno(10061)
	wsaForbidden = syscall.Errno(10013)
)

// check connects, as a session would.
func (s service) check(ctx context.Context, h host) Result {
	r := Result{State: Warn, Detail: s.address}
	err := h.dial(ctx, s.address)
	switch {
	case err == nil:
		r.State, r.Code = OK, "listening"
	case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, wsaRefused):
		r.Code = "refused"
	case errors.Is(err, context.Canceled):
		r.State, r.Code = Unknown, "too_slow"
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		r.Code = "no_answer"
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, wsaForbidden):
		r.Code = "forbidden"
	default:
		r.Code = "unreachable"
	}
	return r
}

// nothing makes failures of the warnings about services where none of them listens: a
// session would reach nothing. One of several that is missing may be meant so.
func nothing(services []Result) {
	silent := func(r Result) bool { return r.State == Warn }
	if slices.ContainsFunc(services, func(r Result) bool { return !silent(r) }) {
		return
	}
	for i := range services {
		services[i].State = Fail
	}
}

// dial connects and resets the connection, so that nothing of it stays.
func dial(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return conn.Close()
}
