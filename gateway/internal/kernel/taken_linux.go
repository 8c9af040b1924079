package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"go.uber.org/zap"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// warden hears of it when a table of nftables is taken away. Who loads the host's own
// rules anew takes away all that there are, the node's among them, and what was under
// its rules would stand open.
type warden struct {
	conn *netlink.Conn
	look func() // whether ours is there still
	done chan struct{}
	work sync.WaitGroup
}

// lookEvery is how often the warden looks though it heard nothing: the kernel drops
// what it has to say when too much is said at a time.
const lookEvery = 5 * time.Second

func watchTables(look func()) (*warden, error) {
	filter, err := bpf.Assemble(notElements())
	if err != nil {
		return nil, fmt.Errorf("kernel: changes of nftables: %w", err)
	}
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("kernel: netlink: %w", err)
	}
	if err := errors.Join(conn.SetBPF(filter), conn.JoinGroup(unix.NFNLGRP_NFTABLES)); err != nil {
		return nil, errors.Join(fmt.Errorf("kernel: changes of nftables: %w", err), conn.Close())
	}
	w := &warden{conn: conn, look: look, done: make(chan struct{})}
	w.work.Go(w.run)
	return w, nil
}

func (w *warden) run() {
	for {
		_ = w.conn.SetReadDeadline(time.Now().Add(lookEvery))
		list, err := w.conn.Receive()
		select {
		case <-w.done:
			return
		default:
		}
		if err != nil || slices.ContainsFunc(list, takesTable) {
			w.look()
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !timeout(err) {
			time.Sleep(askLater) // it would fail again at once
		}
	}
}

// notElements lets through what does not begin with a change of a set's elements: those
// are ours, and there are many.
func notElements() []bpf.Instruction {
	is := func(kind uint16, skip uint8) bpf.Instruction {
		swapped := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.NFNL_SUBSYS_NFTABLES<<8|kind))
		return bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(swapped), SkipTrue: skip}
	}
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 4, Size: 2}, // the type of the first message
		is(unix.NFT_MSG_NEWSETELEM, 2), is(unix.NFT_MSG_DELSETELEM, 1),
		bpf.RetConstant{Val: 1 << 18}, bpf.RetConstant{Val: 0},
	}
}

func takesTable(m netlink.Message) bool {
	return m.Header.Type == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE
}

func timeout(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && e.Timeout()
}

func (w *warden) stop() {
	close(w.done)
	_ = w.conn.Close()
	w.work.Wait()
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
