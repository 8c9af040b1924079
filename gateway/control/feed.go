package control

import (
	"context"
	"encoding/json"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/feed"
)

// The feed of the devices: while somebody watches, one goroutine looks at those of
// which somebody said that they may have changed, writes what has into a log and wakes
// the watchers, who take from the log what they miss.
//
//	touch(id) ──► queue ──► a look, each 250 ms at most ──► log ──► any number of watchers
//	                ▲                     │
//	                └── a sweep each second: what changes by time alone
const (
	feedEvery  = 250 * time.Millisecond
	feedSweep  = time.Second
	feedSeen   = time.Minute // a device is shown again for last_seen and next alone
	feedLinger = time.Minute // who comes back that soon goes on where he was
)

// deviceFeed is what watchers of the devices share. Without one it costs a touch one
// look at on.
type deviceFeed struct {
	on atomic.Bool

	mu       sync.Mutex // after Control.mu
	log      *feed.Log  // nil: nobody watches
	version  uint64     // of the log before
	whole    bool       // every device is in the log
	changed  chan struct{}
	queue    []string // that may have changed, each once
	queued   map[string]bool
	wake     chan struct{} // of one
	watching int
	left     time.Time // when the last watcher did
}

// touch says that a device may have changed as it is shown.
func (f *deviceFeed) touch(id string) {
	if f.on.Load() {
		f.mu.Lock()
		f.enqueue(id)
		f.mu.Unlock()
	}
}

// enqueue is touch; f.mu is held.
func (f *deviceFeed) enqueue(id string) {
	if f.log == nil || f.queued[id] {
		return
	}
	f.queued[id] = true
	f.queue = append(f.queue, id)
	f.signal()
}

func (f *deviceFeed) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// next takes what is to be looked at: no more than one event has.
func (f *deviceFeed) next() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(len(f.queue), feed.MaxPage)
	ids := f.queue[:n:n]
	f.queue = f.queue[n:]
	for _, id := range ids {
		delete(f.queued, id)
	}
	if len(f.queue) > 0 {
		f.signal()
	}
	return ids
}

// join counts a watcher, and starts the feed for the first.
func (c *Control) joinFeed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &c.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.log == nil {
		if !c.begin() {
			return net.ErrClosed
		}
		// Above all that another process gave, or this one.
		f.log = feed.New(max(uint64(time.Now().UnixMicro()), f.version+1))
		f.changed, f.wake, f.queued = make(chan struct{}), make(chan struct{}, 1), make(map[string]bool)
		f.on.Store(true)
		go c.feedDevices()
	}
	f.watching++
	return nil
}

func (f *deviceFeed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watching--
	f.left = time.Now()
}

// end ends the feed if nobody has watched for a while.
func (f *deviceFeed) end(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watching > 0 || now.Sub(f.left) < feedLinger {
		return false
	}
	f.version, f.log, f.whole, f.queue, f.queued = f.log.Version(), nil, false, nil, nil
	f.on.Store(false)
	return true
}

// since is what a watcher misses, the version after which he does not, and what tells
// of the next one. Before the log is whole there is nothing, and no version.
func (f *deviceFeed) since(after uint64, groups []string) ([][]byte, uint64, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.whole {
		return nil, after, f.changed
	}
	return f.log.Since(after, groups), f.log.Version(), f.changed
}

// watchDevices waits for what a user who sees devices of groups does not know at a
// version, and returns it with the version at which he does. The version counts beside
// an error, too: up to it there was nothing for him.
func (c *Control) watchDevices(ctx context.Context, groups []string, after uint64) ([][]byte, uint64, error) {
	if err := c.joinFeed(); err != nil {
		return nil, after, err
	}
	defer c.feed.leave()
	for {
		events, version, changed := c.feed.since(after, groups)
		if len(events) > 0 {
			return events, version, nil
		}
		after = version
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, after, ctx.Err()
		case <-c.ctx.Done():
			return nil, after, c.ctx.Err()
		}
	}
}

// feedDevices serves the feed as long as somebody watches.
func (c *Control) feedDevices() {
	defer c.work.Done()
	t := teller{c: c, f: &c.feed, shown: make(map[string]shown)}
	sweep := time.NewTicker(feedSweep)
	defer sweep.Stop()
	for t.fill(); ; {
		select {
		case <-c.ctx.Done():
			return
		case <-sweep.C:
			if t.f.end(time.Now()) {
				return
			}
			t.sweep(c.cfg.Now())
			continue
		case <-t.f.wake:
		}
		t.tell(t.f.next(), true)
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(feedEvery):
		}
	}
}

// teller is the goroutine that writes the log.
type teller struct {
	c     *Control
	f     *deviceFeed
	shown map[string]shown
}

// shown is a device as the log has it.
type shown struct {
	device client.Device
	told   time.Time // when it was said last
	turns  time.Time // when it is to be looked at again, though nobody says so; zero: never
}

// fill writes every device.
func (t *teller) fill() {
	t.c.mu.Lock()
	ids := make([]string, 0, len(t.c.devices)+t.c.strangers.len())
	for id := range t.c.devices {
		ids = append(ids, id)
	}
	for id := range t.c.strangers.seen {
		ids = append(ids, id)
	}
	t.c.mu.Unlock()
	for len(ids) > 0 {
		n := min(len(ids), feed.MaxPage)
		t.tell(ids[:n], false)
		ids = ids[n:]
	}
	t.tell(nil, true)
}

// sweep finds what has changed by time alone.
func (t *teller) sweep(now time.Time) {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	for id, s := range t.shown {
		if !s.turns.IsZero() && now.After(s.turns) {
			t.f.enqueue(id)
		}
	}
}

// news is what is to be written of one device; without data it is gone.
type news struct {
	id, group string
	data      []byte
}

// tell writes what is new of devices, and has watchers see it.
func (t *teller) tell(ids []string, commit bool) {
	list := t.look(ids)
	if len(list) == 0 && !commit {
		return
	}
	f := t.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(list) == 0 && f.whole {
		return
	}
	if f.whole {
		f.log.Next()
	}
	for _, n := range list {
		if n.data == nil {
			f.log.Drop(n.id)
		} else {
			f.log.Put(n.id, n.group, n.data)
		}
	}
	if commit {
		f.whole = true
		close(f.changed)
		f.changed = make(chan struct{})
	}
}

// look compares devices with how they were told.
func (t *teller) look(ids []string) []news {
	now := t.c.cfg.Now()
	type seen struct {
		client.Device
		turns time.Time
		ok    bool
	}
	list := make([]seen, len(ids))
	t.c.mu.Lock()
	for i, id := range ids {
		list[i].Device, list[i].turns, list[i].ok = t.c.shows(id, now)
	}
	t.c.mu.Unlock()
	var all []news
	for i, id := range ids {
		v := list[i]
		before, known := t.shown[id]
		switch {
		case !v.ok && known:
			delete(t.shown, id)
			all = append(all, news{id: id})
			continue
		case !v.ok:
			continue
		}
		if known && same(before.device, v.Device) {
			heard := v.LastSeen != before.device.LastSeen || v.Next != before.device.Next
			again := before.told.Add(feedSeen)
			if !heard || now.Before(again) {
				if heard {
					v.turns = sooner(v.turns, again)
				}
				t.shown[id] = shown{before.device, before.told, v.turns}
				continue
			}
		}
		data, err := json.Marshal(v.Device)
		if err != nil {
			t.c.log.Error("a device cannot be shown", zap.String("device", id), zap.Error(err))
			continue
		}
		t.shown[id] = shown{v.Device, now, v.turns}
		all = append(all, news{id, v.Group, data})
	}
	return all
}

// same reports whether two are shown alike, but for when they were heard.
func same(a, b client.Device) bool {
	a.LastSeen, a.Next = b.LastSeen, b.Next
	return reflect.DeepEqual(a, b)
}

// sooner is the earlier of two times, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
