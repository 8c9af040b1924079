package https

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// How often this machine's addresses are looked at.
const linkPeriod = 5 * time.Second

var errLink = errors.New("https: local address gone")

// links are the addresses through which this machine reaches others, sorted.
type links []netip.Addr

func (l links) equal(o links) bool { return slices.Equal(l, o) }

// localLinks leaves out loopback and link-local addresses, which say nothing about a way out.
func localLinks() links {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var l links
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().IsGlobalUnicast() {
			l = append(l, p.Addr())
		}
	}
	slices.SortFunc(l, netip.Addr.Compare)
	return l
}

// watchLink cancels ctx when the local address of the request made with it disappears:
// such a poll would wait for its answer until it times out.
func watchLink(ctx context.Context, now func() links) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var mu sync.Mutex
	var local netip.Addr
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if a, ok := info.Conn.LocalAddr().(*net.TCPAddr); ok {
				mu.Lock()
				local = a.AddrPort().Addr().Unmap().WithZone("")
				mu.Unlock()
			}
		},
	})
	// The timer is armed again by its own function; after cancel it does that no more.
	var check func()
	check = func() {
		mu.Lock()
		a := local
		mu.Unlock()
		if a.IsGlobalUnicast() && !slices.Contains(now(), a) {
			cancel(errLink)
		}
		if ctx.Err() == nil {
			time.AfterFunc(linkPeriod, check)
		}
	}
	time.AfterFunc(linkPeriod, check)
	return ctx, func() { cancel(nil) }
}
