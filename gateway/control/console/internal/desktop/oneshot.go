package desktop

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// window is how long a one-shot forwarder waits for its connection.
const window = 15 * time.Second

// A oneshot is a port of this machine that leads to a device, once: the first
// connection from the one peer that may goes through, others are cut. It ends with its
// context.
type oneshot struct {
	Address netip.AddrPort
	done    sync.WaitGroup
}

// forwardOnce opens one at an address of this machine's.
func forwardOnce(ctx context.Context, at, peer netip.Addr, dial func(context.Context) (net.Conn, error)) (*oneshot, error) {
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		return nil, fmt.Errorf("desktop: a port for guacd: %w", err)
	}
	o := &oneshot{Address: ln.Addr().(*net.TCPAddr).AddrPort()}
	ln.SetDeadline(time.Now().Add(window))
	o.done.Go(func() {
		near := acceptFrom(ctx, ln, peer)
		if near == nil {
			return
		}
		defer near.Close()
		far, err := dial(ctx)
		if err != nil {
			return // guacd sees the end, and says so
		}
		defer far.Close()
		couple(ctx, near, far)
	})
	return o, nil
}

// acceptFrom waits for the one connection, and closes the listener.
func acceptFrom(ctx context.Context, ln net.Listener, peer netip.Addr) net.Conn {
	defer ln.Close()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		c, err := ln.Accept()
		if err != nil {
			return nil
		}
		if from, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil && from.Addr().Unmap() == peer.Unmap() {
			return c
		}
		c.Close()
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
