package desktop

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/boothwire/boothwire/gateway/control/console/internal/rdcleanpath"
)

const (
	// window is how long a one-shot forwarder waits for its connection.
	window = 15 * time.Second
	// knock is how long a connection may take to show that it is guacd's, and maxKnock
	// how many may be about it at a time.
	knock    = 5 * time.Second
	maxKnock = 32
)

// A oneshot is a port of this machine that leads to a device, once: the first connection
// that may goes through, others are cut. It ends with its context.
type oneshot struct {
	Address netip.AddrPort
	done    sync.WaitGroup
}

// A gate tells whether a connection may go through, and what it has read of it that the
// device is to get first. Its reads are bounded.
type gate func(net.Conn) (first []byte, ok bool)

// forwardOnce opens one at an address of this machine's.
func forwardOnce(ctx context.Context, at netip.Addr, may gate, dial func(context.Context) (net.Conn, error)) (*oneshot, error) {
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		return nil, fmt.Errorf("desktop: a port for guacd: %w", err)
	}
	o := &oneshot{Address: ln.Addr().(*net.TCPAddr).AddrPort()}
	ln.SetDeadline(time.Now().Add(window))
	o.done.Go(func() {
		near, first := admit(ctx, ln, may)
		if near == nil {
			return
		}
		defer near.Close()
		far, err := dial(ctx)
		if err != nil {
			return // guacd sees the end, and says so
		}
		defer far.Close()
		if len(first) > 0 {
			if _, err := (patient{far}).Write(first); err != nil {
				return
			}
		}
		couple(ctx, near, far)
	})
	return o, nil
}

// An admitted connection is the one.
type admitted struct {
	net.Conn
	first []byte
}

// admit waits for the one connection, and closes the listener. One that says nothing
// keeps no other from coming.
func admit(ctx context.Context, ln *net.TCPListener, may gate) (net.Conn, []byte) {
	var work sync.WaitGroup
	defer work.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { ln.Close() })
	won := make(chan admitted, 1)
	slots := make(chan struct{}, maxKnock)
	for {
		c, err := ln.Accept()
		if err != nil {
			break
		}
		select {
		case slots <- struct{}{}:
		default:
			c.Close()
			continue
		}
		work.Go(func() {
			defer func() { <-slots }()
			stop := context.AfterFunc(ctx, func() { c.Close() })
			c.SetDeadline(time.Now().Add(knock))
			first, ok := may(c)
			c.SetDeadline(time.Time{})
			if !stop() || !ok {
				c.Close()
				return
			}
			select {
			case won <- admitted{c, first}:
				ln.Close()
			default:
				c.Close()
			}
		})
	}
	select {
	case a := <-won:
		return a.Conn, a.first
	default:
		return nil, nil
	}
}

// fromPeer lets a connection through that comes from where guacd's own does: from its
// address and, if that is on this machine, from a process of its user.
func fromPeer(guacd net.Conn) gate {
	return func(c net.Conn) ([]byte, bool) {
		from, errFrom := netip.ParseAddrPort(c.RemoteAddr().String())
		peer, errPeer := netip.ParseAddrPort(guacd.RemoteAddr().String())
		if errFrom != nil || errPeer != nil || from.Addr().Unmap() != peer.Addr().Unmap() {
			return nil, false
		}
		owner, here := ownerOf(guacd)
		if !here {
			return nil, true // on another machine, or in a network of its own
		}
		other, here := ownerOf(c)
		return nil, here && other == owner
	}
}

// routing makes a routing token of RDP that nobody guesses, in the form that Windows
// gives them ([MS-RDPBCGR] 2.2.1.1).
func routing() string { return "Cookie: msts=" + rand.Text() }

// withToken lets those of may through whose first request has a routing token. The device
// does not see it.
func withToken(token string, may gate) gate {
	return func(c net.Conn) ([]byte, bool) {
		if _, ok := may(c); !ok {
			return nil, false
		}
		request, err := rdcleanpath.ReadX224(c)
		if err != nil {
			return nil, false
		}
		asked, err := rdcleanpath.ParseRequest(request)
		if err != nil || subtle.ConstantTimeCompare([]byte(asked.Cookie), []byte(token)) != 1 {
			return nil, false
		}
		plain, err := rdcleanpath.WithoutCookie(request)
		return plain, err == nil
	}
}

// couple copies both ways until either ends or ctx does.
func couple(ctx context.Context, a, b net.Conn) {
	ctx, cancel := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	var n [2]uint64
	work.Go(func() { cancel(pour(patient{a}, b, &n[0], fromDevice)) })
	work.Go(func() { cancel(pour(patient{b}, a, &n[1], fromDevice)) })
	<-ctx.Done()
	a.Close()
	b.Close()
	work.Wait()
}
