package kernel

import (
	"net/netip"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// listener finds out which devices were heard of: the kernel has no word for it. It
// asks only while somebody is awaited, and less often the longer that takes.
type listener struct {
	p    *Plane
	wake chan struct{} // of one
	done chan struct{}
	work sync.WaitGroup
	once sync.Once
}

// How often it asks, by how long nobody new is awaited.
const (
	askSoon  = 20 * time.Millisecond
	askLater = 250 * time.Millisecond
	askLate  = time.Second
	soonFor  = 5 * time.Second
	laterFor = time.Minute
	// It spends at most a tenth of its time asking, however much there is to read.
	askShare = 10
)

func listen(p *Plane) *listener {
	l := &listener{p: p, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.work.Go(l.run)
	return l
}

// look says that somebody new is awaited.
func (l *listener) look() {
	if l == nil {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *listener) stop() {
	l.once.Do(func() { close(l.done) })
	l.work.Wait()
}

func (l *listener) run() {
	last := time.Now() // that somebody new was awaited
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.done:
			return
		case <-l.wake:
			last = time.Now()
			timer.Reset(askSoon)
			continue
		case <-timer.C:
		}
		began := time.Now()
		if !l.p.listen() {
			continue // until somebody is
		}
		pause := askSoon
		switch waited := time.Since(last); {
		case waited > laterFor:
			pause = askLate
		case waited > soonFor:
			pause = askLater
		}
		timer.Reset(max(pause, askShare*time.Since(began)))
	}
}

// listen takes note of devices that were heard of, and reports whether others are
// still awaited.
func (p *Plane) listen() bool {
	p.mu.Lock()
	proved := p.proved()
	pending := p.pending()
	more := !p.closed && (len(p.firewall.unproved) > 0 || len(pending) > 0)
	p.mu.Unlock()
	for _, id := range proved {
		p.cfg.Handshake(id)
		p.cfg.Proved(id)
	}
	for id, key := range p.shook(pending) {
		p.promote(id, key)
	}
	return more
}

// proved returns the sessions whose device sent its first packet; p.mu is held.
func (p *Plane) proved() (ids []string) {
	if p.closed || len(p.firewall.unproved) == 0 {
		return nil
	}
	list, err := p.firewall.nft.GetSetElements(p.firewall.sets.unproved)
	if err != nil {
		return nil
	}
	heard := make(map[netip.Addr]bool)
	for _, e := range list {
		if a, ok := netip.AddrFromSlice(e.Key); ok && e.Counter != nil && e.Counter.Packets > 0 {
			heard[a] = true
		}
	}
	if len(heard) == 0 {
		return nil
	}
	var d delta
	for id, s := range p.sessions {
		for _, a := range s.now.Device.Addresses {
			if heard[a] {
				ids = append(ids, id)
				d.heard = append(d.heard, s.now.Device.Addresses...)
				break
			}
		}
	}
	if err := p.firewall.apply(&d, time.Now()); err != nil {
		return nil // asked again
	}
	return ids
}

// pending returns the next keys of devices, by session; p.mu is held.
func (p *Plane) pending() map[string][32]byte {
	list := make(map[string][32]byte)
	for id, s := range p.sessions {
		if s.pending != nil {
			list[id] = *s.pending
		}
	}
	return list
}

// shook returns those of pending that completed a handshake: the peer that answers
// one learns of it by the first packet under the new keys.
func (p *Plane) shook(pending map[string][32]byte) map[string][32]byte {
	if len(pending) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	d, err := p.wg.Device(p.cfg.Devices)
	if err != nil {
		return nil
	}
	at := make(map[wgtypes.Key]time.Time, len(d.Peers))
	for _, peer := range d.Peers {
		at[peer.PublicKey] = peer.LastHandshakeTime
	}
	ready := make(map[string][32]byte)
	for id, key := range pending {
		if t := at[key]; !t.IsZero() && t.Unix() > 0 {
			ready[id] = key
		}
	}
	return ready
}
