package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/boothwire/boothwire/internal/bind"
)

// How often a func that finds a path is called again after it failed.
const (
	reopenFirst = 500 * time.Millisecond
	reopenMost  = 30 * time.Second

	// reopenNow is the pause where the far end has begun anew and waits.
	reopenNow = 50 * time.Millisecond

	// lasting is how long a connection must have lasted for the pauses to begin anew.
	lasting = 10 * time.Second
)

// superseded is the code of a connection that the far end has replaced.
const superseded = "superseded"

// waits reports whether Open failed at this end of an attempt that the far end makes,
// and is to be called again so that it is there for the next one.
func waits(err error) bool {
	w, ok := errors.AsType[interface {
		error
		Waits() bool
	}](err)
	return ok && w.Waits()
}

// takePaths opens c's paths. What is open already stays where the config says that it
// is the same, unless everything is to be opened anew.
func (t *Tunnel) takePaths(c *Config, anew bool) {
	old := t.ways
	t.ways = nil
	var fresh []*way
	for _, p := range c.Paths {
		if p.Open == nil || !c.Policy.allows(p.kind()) {
			continue
		}
		i := slices.IndexFunc(old, func(w *way) bool { return w.path.Name == p.Name && w.path.kind() == p.kind() })
		if i >= 0 && p.Name != "" && !anew && old[i].ctx.Err() == nil {
			old[i].path = p
			t.ways = append(t.ways, old[i])
			old = slices.Delete(old, i, i+1)
			continue
		}
		w := &way{path: p, again: make(chan struct{}, 1), lost: make(chan struct{}, 1), done: make(chan struct{}), since: time.Now()}
		if i >= 0 {
			w.id = old[i].id // its history goes on
			old[i].cancel()
			t.ending = append(t.ending, old[i])
			old = slices.Delete(old, i, i+1)
		} else {
			t.ids++
			w.id = t.ids
		}
		w.ctx, w.cancel = context.WithCancel(t.ctx)
		t.ways = append(t.ways, w)
		fresh = append(fresh, w)
	}
	for _, w := range old {
		w.cancel()
	}
	// The tunnel's socket is one path's at a time, and so is a leg at a relay.
	t.ending = slices.DeleteFunc(append(t.ending, old...), func(w *way) bool {
		select {
		case <-w.done:
			return true
		default:
			return false
		}
	})
	for _, w := range fresh {
		var before []*way
		for _, b := range t.ending {
			if b.path.kind() == w.path.kind() {
				before = append(before, b)
			}
		}
		t.work.Go(func() {
			defer close(w.done)
			for _, b := range before {
				<-b.done
			}
			t.keepOpen(w)
		})
	}
}

// closePaths ends every way; t.work waits for their goroutines.
func (t *Tunnel) closePaths() {
	for _, w := range t.ways {
		w.cancel()
	}
	t.ways = nil
}

// reopen calls funcs again at once, because the host's addresses have changed. What
// can be checked has to pass a check instead.
func (t *Tunnel) reopen() {
	for _, w := range t.ways {
		switch {
		case w.checker != nil:
			w.suspect = true
			continue
		case w.stop != nil:
			w.stop()
		}
		signal(w.again)
	}
}

// keepOpen holds one way open until it ends.
func (t *Tunnel) keepOpen(w *way) {
	wait := reopenFirst
	told := ""
	for w.ctx.Err() == nil {
		began := time.Now()
		worked, err := t.openOnce(w)
		if w.ctx.Err() != nil {
			return
		}
		if err != nil {
			if worked || err.Error() != told {
				t.tell(Event{Kind: EventWarning, Err: err})
			}
			told = err.Error()
		}
		if worked && time.Since(began) >= lasting {
			wait = reopenFirst
		}
		pause := wait
		if worked && codeOf(err) == superseded || waits(err) {
			pause = reopenNow
		} else {
			wait = min(2*wait, reopenMost)
		}
		select {
		case <-w.ctx.Done():
			return
		case <-w.again:
			wait = reopenFirst
		case <-time.After(pause):
		}
	}
}

// openOnce opens the way and returns when it is lost. worked says that there was one.
func (t *Tunnel) openOnce(w *way) (worked bool, err error) {
	life, end := context.WithCancel(w.ctx)
	defer end()
	opening, stop := context.WithCancel(life)
	defer stop()
	var p Path
	if err := t.do(life, func() error {
		p = w.path
		w.stop, w.failed = stop, false
		w.since, t.dirty = time.Now(), true
		return nil
	}); err != nil {
		return false, err
	}
	conn, err := p.Open(opening, t.bind.PacketConn())
	switch stopped := opening.Err() != nil; {
	case err != nil && stopped && w.ctx.Err() == nil:
		err = nil // the network has changed: at once again, and nothing to tell
		fallthrough
	case err != nil:
		_ = t.do(life, func() error {
			w.stop, w.failed, w.code, w.why = nil, err != nil, codeOf(err), whyOf(err)
			w.since, t.dirty = time.Now(), true
			return nil
		})
		if err != nil {
			err = fmt.Errorf("open %s path: %w", p.kind(), err)
		}
		return false, err
	}
	return true, t.hold(life, w, p, conn)
}

// hold lets packets go by conn until it is lost, and returns why.
func (t *Tunnel) hold(life context.Context, w *way, p Path, conn net.Conn) error {
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
	var route bind.Route
	if err := t.do(life, func() error {
		if ok {
			route = bind.At(sock.SocketAddr())
			w.remote = sock.SocketAddr().String()
		} else {
			link = t.far.link
			route = link.AddStream(conn, end)
			w.remote = addrOf(conn)
		}
		w.stop = nil
		w.route, w.socket, w.life, w.code, w.since = route, ok, life, "", time.Now()
		w.checker, _ = conn.(Checker)
		w.sayer, w.why = nil, ""
		if s, ok := conn.(sayer); ok {
			w.sayer = s
			t.work.Go(func() { t.watchWhy(life, s) })
		}
		t.setRoutes()
		return nil
	}); err != nil && route.IsZero() {
		return err
	}
	select {
	case <-w.lost: // of the connection before
	default:
	}
	var err error
	select {
	case err = <-lost:
	case <-w.lost:
		err = errNoReply{}
	case <-w.again:
		signal(w.again) // for keepOpen: at once
	case <-life.Done():
	}
	_ = t.do(context.WithoutCancel(life), func() error {
		w.route, w.remote, w.checker, w.sayer, w.why, w.suspect = bind.Route{}, "", nil, nil, whyOf(err), false
		w.failed, w.code, w.since = err != nil, codeOf(err), time.Now()
		t.setRoutes()
		return nil
	})
	if route.IsStream() { // also when nobody does anything any more
		link.RemoveStream(route)
		conn.Close()
		<-ended
	}
	if err != nil {
		return fmt.Errorf("%s path: %w", p.kind(), err)
	}
	return nil
}

// setRoutes tells the path machine which ways there are now.
func (t *Tunnel) setRoutes() { t.setWays(t.far, t.config()) }
