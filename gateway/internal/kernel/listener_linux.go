package kernel

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// listener finds out which devices were heard of: the kernel has no word for it. It
// asks about those that are awaited since a moment often, about the rest now and
// then, and not at all when nobody is awaited.
type listener struct {
	recent func(now time.Time) (pause time.Duration) // asks about those, 0: there are none
	others func()                                    // asks about the rest
	wake   chan struct{}                             // of one
	done   chan struct{}
	work   sync.WaitGroup
	once   sync.Once
}

const (
	recentFor = time.Minute // that a device counts as awaited since a moment
	soonFor   = 5 * time.Second

	askSoon  = 20 * time.Millisecond
	askLater = 250 * time.Millisecond
	askRest  = 10 * time.Second
	// Of its time it spends at most one part in so many on asking.
	shareRecent = 10
	shareRest   = 1000
	// Asking about one device takes as long as reading so many of all that are awaited.
	dearer = 16
)

func listen(recent func(time.Time) time.Duration, others func()) *listener {
	l := &listener{recent: recent, others: others, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.work.Go(l.run)
	return l
}

// look says that somebody new is awaited.
func (l *listener) look() {
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
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := time.Now()               // when to ask
	rest, least := due, time.Time{} // when to ask about the rest; before when not to ask at all
	for {
		select {
		case <-l.done:
			return
		case <-l.wake:
			// Sooner, never later: else nobody would be asked about while others come.
			if soon := latest(time.Now().Add(askSoon), least); soon.Before(due) {
				due = soon
				timer.Reset(time.Until(due))
			}
			continue
		case <-timer.C:
		}
		now := time.Now()
		pause := l.recent(now)
		now, least = time.Now(), time.Now().Add(shareRecent*time.Since(now))
		if !now.Before(rest) {
			l.others()
			rest = now.Add(max(askRest, shareRest*time.Since(now)))
		}
		due = rest
		if soon := now.Add(max(pause, askSoon)); pause > 0 && soon.Before(due) {
			due = latest(soon, least)
		}
		timer.Reset(time.Until(due))
	}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// await takes note that devices are awaited from now on; p.mu is held.
func (p *Plane) await(devices []netip.Addr, now time.Time) {
	for _, a := range devices {
		p.recent[a] = now
	}
	if (len(devices) > 0 || len(p.turning) > 0) && p.heard != nil {
		p.heard.look()
	}
}

// hearRecent asks about devices that are awaited since a moment, and about next
// keys. It returns when to ask again, 0: not before somebody new is awaited.
func (p *Plane) hearRecent(now time.Time) (pause time.Duration) {
	p.mu.Lock()
	var keys [][]byte
	all := now.Sub(p.asked) >= askLater
	if all {
		p.asked = now
	}
	for a, since := range p.recent {
		waited := now.Sub(since)
		switch {
		case !p.firewall.unproved[a] || waited > recentFor:
			delete(p.recent, a)
			continue
		case waited < soonFor:
			pause = askSoon
		case pause == 0:
			pause = askLater
		}
		if waited >= soonFor && !all {
			continue
		}
		keys = append(keys, a.AsSlice())
	}
	if len(p.turning) > 0 && pause == 0 {
		pause = askLater
	}
	shook, most := p.shook(), len(keys)*dearer > len(p.firewall.unproved)
	p.mu.Unlock()
	switch {
	case len(keys) > perQuestion && most:
		p.hearAll()
	case len(keys) > 0:
		// One of them may be awaited no more by now; the others are asked about again.
		list, _ := p.awaiter.read(p.firewall.sets.unproved.Name, keys)
		p.tell(p.proved(list, now))
	}
	for id, key := range shook {
		p.promote(id, key)
	}
	return pause
}

// hearAll asks about all devices that are awaited.
func (p *Plane) hearAll() {
	now := time.Now()
	p.mu.Lock()
	awaited := !p.closed && len(p.firewall.unproved) > 0
	p.mu.Unlock()
	if !awaited {
		return
	}
	found, err := p.firewall.dump(p.firewall.sets.unproved)
	if err != nil {
		p.cfg.Logger.Warn("who was heard of", zap.Error(err))
	}
	var list []element
	for _, e := range found {
		if e.Counter != nil {
			list = append(list, element{key: e.Key, packets: e.Counter.Packets})
		}
	}
	p.tell(p.proved(list, now))
}

func (p *Plane) tell(ids []string) {
	for _, id := range ids {
		p.cfg.Handshake(id)
		p.cfg.Proved(id)
	}
}

// proved returns the sessions of those devices that sent something, and awaits them
// no more.
func (p *Plane) proved(list []element, asked time.Time) (ids []string) {
	heard := make(map[netip.Addr]bool)
	for _, e := range list {
		if a, ok := netip.AddrFromSlice(e.key); ok && e.packets > 0 {
			heard[a] = true
		}
	}
	if len(heard) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	for a := range heard { // it may be awaited anew, or no more
		if since, ok := p.recent[a]; !p.firewall.unproved[a] || ok && since.After(asked) {
			delete(heard, a)
		}
	}
	var d delta
	for id, s := range p.sessions {
		if slices.ContainsFunc(s.now.Device.Addresses, func(a netip.Addr) bool { return heard[a] }) {
			ids = append(ids, id)
			d.heard = append(d.heard, s.now.Device.Addresses...)
		}
	}
	if err := p.firewall.apply(&d, time.Now()); err != nil {
		p.cfg.Logger.Warn("who was heard of", zap.Error(err))
		return nil // asked again
	}
	return ids
}

// shook returns the next keys that completed a handshake: the peer that answers one
// learns of it by the first packet under the new keys. p.mu is held.
func (p *Plane) shook() map[string][32]byte {
	if len(p.turning) == 0 || p.closed {
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
	for id, key := range p.turning {
		if t := at[key]; !t.IsZero() && t.Unix() > 0 {
			ready[id] = key
		}
	}
	return ready
}
