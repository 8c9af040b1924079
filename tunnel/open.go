package tunnel

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/boothwire/boothwire/internal/bind"
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
	route  bind.Route // where it leads, while it does
	remote string     // the same for people
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
	lost, ended := make(chan error, 1), make(chan struct{})
	end := func(err error) { lost <- err; close(ended) }
	sock, ok := conn.(SocketConn)
	if ok {
		// What arrives for WireGuard does not come this way: Read only tells the end.
		t.work.Go(func() {
			buf := make([]byte, 2048)
			for {
				if _, err := sock.Read(buf); err != nil {
					end(err)
					return
				}
			}
		})
	}
	var link *bind.Peer
	err = t.do(ctx, func() error {
		if ok {
			o.route, o.remote = bind.At(sock.SocketAddr()), sock.SocketAddr().String()
		} else {
			link = t.far.link
			o.route, o.remote = link.AddStream(conn, end), addrOf(conn)
		}
		t.setRoutes()
		return nil
	})
	if err != nil {
		return true, err
	}
	defer func() {
		r := o.route
		_ = t.do(context.WithoutCancel(ctx), func() error {
			o.route, o.remote = bind.Route{}, ""
			t.setRoutes()
			return nil
		})
		if r.IsStream() { // also when nobody does anything any more
			link.RemoveStream(r)
			conn.Close()
			<-ended
		}
	}()
	select {
	case err = <-lost:
		return true, fmt.Errorf("%s path: %w", o.kind(), err)
	case <-o.again:
		o.again <- struct{}{} // for keepOpen: at once
	case <-ctx.Done():
	}
	return true, nil
}

// addrOf is where a connection leads, for people.
func addrOf(c net.Conn) string {
	if a := c.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// setRoutes gives the race all routes that there are.
func (t *Tunnel) setRoutes() {
	var routes []bind.Route
	for _, i := range slices.Sorted(maps.Keys(t.opens)) {
		if o := t.opens[i]; !o.route.IsZero() {
			routes = append(routes, o.route)
		}
	}
	routes = append(routes, t.config().known()...)
	t.far.race.SetRoutes(routes)
	t.far.race.Step(t.gate.Now())
	t.far.point()
}
