package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/boothwire/boothwire/keys"
)

// service is where a driverless device forwards a port to: nowhere unless some
// operator may reach it. The filter has judged who asks.
func (t *Tunnel) service(network string, number uint16) (string, bool) {
	c := t.config()
	if c.Role != Device {
		return "", false
	}
	port := keys.Port{Proto: network, Number: number}
	for _, p := range c.granted() {
		if p != port {
			continue
		}
		if to, ok := c.Services[port]; ok {
			return to, to != ""
		}
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(number))), true
	}
	return "", false
}

// granted are the ports that a device opens.
func (c *Config) granted() []keys.Port {
	if len(c.Operators) == 0 {
		return c.Ports
	}
	var all []keys.Port
	for _, o := range c.Operators {
		all = append(all, o.Ports...)
	}
	return all
}

// Dial connects to an address at the far side, once the tunnel is Ready; network
// is "tcp" or "udp" (with an optional 4 or 6), address is ip:port, or :port for
// the device. ctx bounds the call; the connection lives until its Close or the
// tunnel's. A device's end only answers: there Dial returns errors.ErrUnsupported.
func (t *Tunnel) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c := t.config()
	if c.Role == Device {
		return nil, t.opError("dial", network, fmt.Errorf("%w: a device's end only answers", errors.ErrUnsupported))
	}
	network, to, err := parseAddr(network, address, c.Far.Proof)
	if err != nil {
		return nil, t.opError("dial", network, err)
	}
	if err := t.Ready(ctx); err != nil {
		return nil, t.opError("dial", network, err)
	}
	if t.stack != nil {
		return t.stack.Dial(ctx, network, to)
	}
	own := from(c.Addresses, to.Addr())
	if !own.IsValid() {
		return nil, t.opError("dial", network, fmt.Errorf("no address of the family of %v", to.Addr()))
	}
	d := net.Dialer{LocalAddr: netAddr(network, netip.AddrPortFrom(own, 0))}
	conn, err := d.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, err
	}
	return t.sockets.keep(conn)
}

// Listen accepts connections at the tunnel's own address, in this process;
// network is "tcp" or "udp" (with an optional 4 or 6), address is :port or
// ip:port. Only operators get through, at ports granted to them. A "udp" listener
// accepts one connection for each remote address and port, and is to be had
// driverless alone. ctx bounds the call. The listener ends with its Close or the
// tunnel's.
func (t *Tunnel) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	c := t.config()
	network, at, err := parseAddr(network, address, c.Addresses[0])
	if err != nil {
		return nil, t.opError("listen", network, err)
	}
	if t.ctx.Err() != nil {
		return nil, t.opError("listen", network, t.reason())
	}
	if t.stack != nil {
		return t.stack.Listen(network, at)
	}
	if network == "udp" {
		return nil, t.opError("listen", network, fmt.Errorf("%w: a udp listener on an adapter", errors.ErrUnsupported))
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, network, at.String())
	if err != nil {
		return nil, err
	}
	if !t.sockets.add(l) {
		return nil, t.opError("listen", network, net.ErrClosed)
	}
	return &keptListener{l, &t.sockets}, nil
}

func (t *Tunnel) opError(op, network string, err error) error {
	return &net.OpError{Op: op, Net: network, Err: err}
}

// parseAddr reads network and address; an empty host means def.
func parseAddr(network, address string, def netip.Addr) (string, netip.AddrPort, error) {
	base := strings.TrimRight(network, "46")
	if base != "tcp" && base != "udp" {
		return network, netip.AddrPort{}, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return base, netip.AddrPort{}, err
	}
	addr := def
	if host != "" {
		if addr, err = netip.ParseAddr(host); err != nil {
			return base, netip.AddrPort{}, &net.AddrError{Err: "not an IP address", Addr: host}
		}
		addr = addr.Unmap()
	}
	if network == base+"4" && !addr.Is4() || network == base+"6" && !addr.Is6() {
		return base, netip.AddrPort{}, &net.AddrError{Err: "address of the wrong family for " + network, Addr: address}
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return base, netip.AddrPort{}, &net.AddrError{Err: "not a port", Addr: service}
	}
	return base, netip.AddrPortFrom(addr, uint16(port)), nil
}

func netAddr(network string, a netip.AddrPort) net.Addr {
	if network == "udp" {
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}
