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

// links are the addresses through which this machine reaches others, sorted; nil if they
// cannot be told.
type links []netip.Addr

// movedFrom tells that these are others than those before.
func (l links) movedFrom(before links) bool {
	return l != nil && before != nil && !slices.Equal(l, before)
}

// lost tells that a is none of them any more.
func (l links) lost(a netip.Addr) bool {
	return l != nil && a.IsGlobalUnicast() && !slices.Contains(l, a)
}

// localLinks leaves out loopback and link-local addresses, which say nothing about a way out.
func localLinks() links {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	l := links{}
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
		if now().lost(a) {
			cancel(errLink)
		}
		if ctx.Err() == nil {
			time.AfterFunc(linkPeriod, check)
		}
	}
	time.AfterFunc(linkPeriod, check)
	return ctx, func() { cancel(nil) }
}
