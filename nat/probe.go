package nat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// ProbeConfig is what a probe may do beside the quick tests.
type ProbeConfig struct {
	// Lifetime is the longest idle time that the NAT's binding is tried for, at most
	// 300 s. It takes about twice to four times as long, needs a server of this
	// package, and a socket from which nothing else is sent meanwhile. 0: not tried.
	Lifetime time.Duration
}

// Probe asks STUN servers, written as in Config.STUN and at most 8, what the network
// does to packets of sock. It takes about 3 s where the network is at its worst, at
// most 15 s with slow names and servers that do not answer, and sends each server
// at most 30 packets.
//
// Mapping needs two servers with different addresses, or one with alternates;
// filtering needs the latter (RFC 5780, which ServeSTUN gives with four sockets),
// and that sock has sent nothing to the alternate address for some minutes, by
// being asked as a server of its own for instance. An IPv6 host sees its firewall
// as filtering.
//
// Nobody else may read sock until Probe returns; then it has no read deadline. If
// ctx ends before, the report tells what was known until then and the error is its
// cause. Other errors are *Error.
func Probe(ctx context.Context, sock net.PacketConn, servers []string) (Report, error) {
	return ProbeWith(ctx, sock, servers, nil)
}

// ProbeWith is Probe with more to do; nil means what Probe does.
func ProbeWith(ctx context.Context, sock net.PacketConn, servers []string, cfg *ProbeConfig) (Report, error) {
	var own ProbeConfig
	if cfg != nil {
		own = *cfg
	}
	names, err := probeServers(servers)
	if err != nil {
		return Report{}, &Error{Reason: ReasonConfig, Err: err}
	}
	if own.Lifetime < 0 || own.Lifetime > delayMost {
		return Report{}, &Error{Reason: ReasonConfig, Err: fmt.Errorf("a lifetime of %v, 0 to %v are measured", own.Lifetime, delayMost)}
	}
	s := newPacketSock(sock)
	p := &probe{client: newSTUNClient(s), local: s.local()}
	defer p.client.close()
	r := p.run(ctx, servers, names, own.Lifetime)
	if ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	select {
	case <-p.client.done:
		return r, &Error{Reason: ReasonSocket, Err: p.client.err}
	default:
		return r, nil
	}
}

func probeServers(texts []string) ([]server, error) {
	if len(texts) == 0 {
		return nil, errors.New("no STUN server")
	}
	if len(texts) > serversMost {
		return nil, fmt.Errorf("%d STUN servers, %d are allowed", len(texts), serversMost)
	}
	list := make([]server, len(texts))
	for i, text := range texts {
		s, err := parseServer(text)
		if err != nil {
			return nil, err
		}
		list[i] = s
	}
	return list, nil
}

// A probe is one run of Probe.
type probe struct {
	client *stunClient
	local  netip.AddrPort
}

// A target is one address of a server, and what it said.
type target struct {
	ServerReport
	other netip.AddrPort // the alternate address, zero if it has none
}

func (p *probe) run(ctx context.Context, texts []string, names []server, lifetime time.Duration) (r Report) {
	targets := resolveAll(ctx, texts, names)
	var v4, v6 []*target
	for _, t := range targets {
		switch {
		case !t.Addr.IsValid():
		case t.Addr.Addr().Is4() && p.speaks(false):
			v4 = append(v4, t)
		case t.Addr.Addr().Is6() && p.speaks(true):
			v6 = append(v6, t)
		default:
			t.Err = "the socket is of the other family"
		}
	}
	var both sync.WaitGroup
	both.Go(func() { r.IPv4 = p.family(ctx, v4) })
	both.Go(func() { r.IPv6 = p.family(ctx, v6) })
	both.Wait()
	if lifetime > 0 {
		list := v4
		if r.IPv4.Works != Yes {
			list = v6
		}
		r.Lifetime = p.lifetime(ctx, list, lifetime)
	}
	for _, t := range targets {
		r.Servers = append(r.Servers, t.ServerReport)
		switch {
		case t.Answered == Yes:
			r.UDPBlocked = No
		case t.Answered == No && r.UDPBlocked == NotChecked:
			r.UDPBlocked = Yes
		}
	}
	return r
}

// speaks reports whether the socket may have IPv6, or IPv4.
func (p *probe) speaks(ipv6 bool) bool {
	ip := p.local.Addr()
	if !ip.IsValid() || ip == netip.IPv6Unspecified() {
		return true
	}
	return ip.Is6() == ipv6
}

// resolveFor bounds the search for names; a network without DNS has no internet.
const resolveFor = 3 * time.Second

// resolveAll finds the addresses of all servers, each once.
func resolveAll(ctx context.Context, texts []string, names []server) []*target {
	ctx, cancel := context.WithTimeout(ctx, resolveFor)
	defer cancel()
	found := make([][]netip.AddrPort, len(names))
	failed := make([]error, len(names))
	var all sync.WaitGroup
	for i, s := range names {
		all.Go(func() { found[i], failed[i] = s.resolve(ctx) })
	}
	all.Wait()
	var list []*target
	known := make(map[netip.AddrPort]bool)
	for i, text := range texts {
		if failed[i] != nil {
			list = append(list, &target{ServerReport: ServerReport{Server: text, Err: "name not found"}})
		}
		for _, addr := range found[i] {
			if !known[addr] {
				known[addr] = true
				list = append(list, &target{ServerReport: ServerReport{Server: text, Addr: addr}})
			}
		}
	}
	return list
}
