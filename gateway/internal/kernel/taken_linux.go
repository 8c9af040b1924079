package kernel

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/google/nftables"
	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// warden looks whether the table is there still. Who loads the host's own rules anew takes
// away all that there are, the node's among them, and what was under its rules would stand
// open.
type warden struct {
	nft  *nftables.Conn
	done chan struct{}
	work sync.WaitGroup
}

// lookEvery is how long everybody may reach everything. The kernel would say at once that
// a table is gone, but then it writes down each element that is changed, too, for us to
// throw away: a restart with 10,000 sessions took more than twice as long. And a look each
// second doubles what a node takes that has nothing to do.
const lookEvery = 3 * time.Second

// watch has gone called when the table is not there, or that cannot be told.
func watch(table *nftables.Table, gone func()) (*warden, error) {
	nft, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("kernel: nftables: %w", err)
	}
	w := &warden{nft: nft, done: make(chan struct{})}
	w.work.Go(func() {
		look := time.NewTicker(lookEvery)
		defer look.Stop()
		for {
			select {
			case <-w.done:
				return
			case <-look.C:
			}
			if _, err := nft.ListTableOfFamily(table.Name, table.Family); err != nil {
				gone()
			}
		}
	})
	return w, nil
}

func (w *warden) stop() {
	close(w.done)
	w.work.Wait()
	_ = w.nft.CloseLasting()
}

// mend makes the table anew when it is gone. Where that fails nothing may pass any more.
func (p *Plane) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	there, err := twice(p.firewall.known)
	if err != nil {
		p.cfg.Logger.Warn("whether the nftables table is there", zap.Error(err)) // asked again
		return
	}
	if there {
		return
	}
	p.cfg.Logger.Error("somebody took the nftables table away; it is made anew", zap.String("table", p.firewall.table.Name))
	awaited := p.firewall.unproved
	if _, err := twice(func() (bool, error) { return true, p.rebuild(awaited) }); err != nil {
		p.cfg.Logger.Error("the nftables table is lost, so the tunnels are shut: start the node anew", zap.Error(err))
		p.links.lower()
	}
}

// twice asks the kernel once more what failed, for it may have been busy.
func twice(f func() (bool, error)) (bool, error) {
	ok, err := f()
	if err != nil {
		ok, err = f()
	}
	return ok, err
}

// rebuild makes the table as the sessions have it, with the devices that are awaited. It
// comes with its rules, in one transaction, under which nobody may do anything yet.
func (p *Plane) rebuild(awaited map[netip.Addr]bool) error {
	p.counters.settle(p)
	p.firewall.forget()
	if err := p.firewall.make(); err != nil {
		return err
	}
	if err := p.program(); err != nil {
		return err
	}
	now := time.Now()
	d := &delta{alive: make(map[netip.Addr]time.Time), class: make(map[netip.Addr]uint16)}
	for _, s := range p.sessions {
		d.opened = append(d.opened, s.ways...)
		for _, a := range members(&s.now) {
			d.alive[a], d.class[a] = s.now.End, s.class
		}
		for _, a := range s.now.Device.Addresses {
			if awaited[a] {
				d.await = append(d.await, a)
			}
		}
	}
	return p.firewall.apply(d, now)
}

// settle adds what the ways counted to what is past, for they begin to count anew. What
// passed since they were asked last is not in it. p.mu is held.
func (c *cache) settle(p *Plane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range p.sessions {
		for _, w := range s.ways {
			n := c.bytes[w]
			s.past = reach.Counters{Rx: s.past.Rx + n.Rx, Tx: s.past.Tx + n.Tx}
		}
	}
	c.bytes = nil
	c.count++
}
