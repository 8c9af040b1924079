package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// How often a func that finds a path is called again after it failed.
const (
	reopenFirst = 500 * time.Millisecond
	reopenMost  = 30 * time.Second
)

// An open is one path of the config that a func finds. Its fields belong to run;
// its goroutine hands results over with do.
type open struct {
	path   Path
	addr   netip.AddrPort // where it leads, while it does
	cancel context.CancelFunc
	again  chan struct{} // wakes its back-off
}

func (o *open) kind() PathKind {
	if o.path.Kind == "" {
		return Direct
	}
	return o.path.Kind
}

// startOpens calls every func of c's paths.
func (t *Tunnel) startOpens(c *Config) {
	for i, p := range c.Paths {
		if p.Open == nil {
			continue
		}
		ctx, cancel := context.WithCancel(t.ctx)
		o := &open{path: p, cancel: cancel, again: make(chan struct{}, 1)}
		t.opens[i] = o
		t.work.Go(func() { t.keepOpen(ctx, o) })
	}
}

// closeOpens ends every one of them; t.work waits for their goroutines.
func (t *Tunnel) closeOpens() {
	for i, o := range t.opens {
		o.cancel()
		delete(t.opens, i)
	}
}

// reopen calls every func again at once: the host's addresses changed.
func (t *Tunnel) reopen() {
	for _, o := range t.opens {
		select {
		case o.again <- struct{}{}:
		default:
		}
	}
}

// keepOpen holds one path open until ctx ends.
func (t *Tunnel) keepOpen(ctx context.Context, o *open) {
	wait := reopenFirst
	for ctx.Err() == nil {
		worked, err := t.openOnce(ctx, o)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			t.tell(Event{Kind: EventWarning, Err: err})
		}
		if worked {
			wait = reopenFirst
		}
		select {
		case <-ctx.Done():
			return
		case <-o.again:
			wait = reopenFirst
		case <-time.After(wait):
			wait = min(2*wait, reopenMost)
		}
	}
}

// openOnce opens the path and returns when it is lost. worked says that there
// was one.
func (t *Tunnel) openOnce(ctx context.Context, o *open) (worked bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := o.path.Open(ctx, t.bind.PacketConn())
	if err != nil {
		return false, fmt.Errorf("open %s path: %w", o.kind(), err)
	}
	defer conn.Close()
	sock, ok := conn.(SocketConn)
	if !ok {
		return false, fmt.Errorf("open %s path: %w: a connection beside the tunnel's socket", o.kind(), errors.ErrUnsupported)
	}
	addr := sock.SocketAddr()
	if err := t.do(ctx, func() error { t.found(o, addr); return nil }); err != nil {
		return true, err
	}
	defer func() { _ = t.do(ctx, func() error { t.found(o, netip.AddrPort{}); return nil }) }()

	// What arrives for WireGuard does not come this way: Read only tells the end.
	lost := make(chan error, 1)
	t.work.Go(func() {
		buf := make([]byte, 2048)
		for {
			if _, err := conn.Read(buf); err != nil {
				lost <- err
				return
			}
		}
	})
	select {
	case err = <-lost:
		return true, fmt.Errorf("%s path: %w", o.kind(), err)
	case <-o.again:
		o.again <- struct{}{} // for keepOpen: at once
	case <-ctx.Done():
	}
	return true, nil
}

// found puts where an open path leads into the race, before the known addresses;
// an invalid one takes it out.
func (t *Tunnel) found(o *open, addr netip.AddrPort) {
	o.addr = addr
	t.setAddrs()
}

// setAddrs gives the race all addresses that there are.
func (t *Tunnel) setAddrs() {
	var addrs []netip.AddrPort
	for _, o := range t.opens {
		if o.addr.IsValid() {
			addrs = append(addrs, o.addr)
		}
	}
	addrs = append(addrs, t.config().known()...)
	t.far.race.SetAddrs(addrs)
	t.far.race.Step(t.gate.Now())
	t.far.point()
}
