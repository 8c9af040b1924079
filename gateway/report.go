package gateway

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
)

// report tells control what the node holds, then what happens, until ctx ends or
// control refuses for good. A report that did not get through is sent again, in
// the next connection too; control knows it by its number.
func (f *follower) report(ctx context.Context) error {
	first := true
	ticker := time.NewTicker(beatPeriod)
	defer ticker.Stop()
	var counted time.Time
	for {
		beat := false
		if !first && len(f.batch)+len(f.counted) == 0 {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case now := <-ticker.C:
				beat = true
				if now.Sub(counted) >= bytesPeriod-beatPeriod/2 {
					counted = now
					f.gather(f.node.traffic(f.bytes))
				}
			case <-f.ready:
			}
		}
		if len(f.batch) == 0 {
			f.seq++ // control may have had the report of before, which said nothing of this
			f.fill(ctx, first || beat || len(f.counted) > 0)
			f.fillUp()
		}
		if len(f.batch) == 0 && !first && !beat {
			continue
		}
		if err := f.send(ctx, first); err != nil {
			return err
		}
		first = false
	}
}

// fill takes what waits, and gives events that nobody waits for a moment to
// become more.
func (f *follower) fill(ctx context.Context, now bool) {
	list := f.node.out.take(maxEvents)
	f.gather(list)
	if now || len(list) == 0 || len(f.batch) >= maxEvents || urgent(list) {
		return
	}
	t := time.NewTimer(gatherFor)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f.gather(f.node.out.take(maxEvents))
			return
		case <-f.ready:
			list := f.node.out.take(maxEvents)
			f.gather(list)
			if urgent(list) {
				return
			}
		}
	}
}

// fillUp adds counters, which wait for all that is news.
func (f *follower) fillUp() {
	n := min(max(maxEvents-len(f.batch), 0), len(f.counted))
	f.batch = append(f.batch, f.counted[:n]...)
	f.counted = append(f.counted[:0], f.counted[n:]...)
}

func urgent(list []Event) bool {
	for _, e := range list {
		if e.Kind != KindRefused && e.Kind != KindBytes {
			return true
		}
	}
	return false
}

func (f *follower) gather(list []Event) {
	over := make(map[string]bool)
	for _, e := range list {
		to := &f.batch
		switch e.Kind {
		case KindBytes:
			to = &f.counted
		case KindClosed:
			over[e.Session] = true
		}
		*to = append(*to, reportEvent{
			Kind: e.Kind, Session: e.Session, Rev: e.Rev, Code: e.Code,
			Rx: e.Rx, Tx: e.Tx, AtMicro: e.At.UnixMicro(), From: e.From,
		})
	}
	if len(over) > 0 { // their last counters come with their end
		f.counted = slices.DeleteFunc(f.counted, func(e reportEvent) bool { return over[e.Session] })
	}
}

// send posts the first of the batch until control has it. Control bounds the events of
// a report, so 10,000 sessions' counters have to go in several.
func (f *follower) send(ctx context.Context, first bool) error {
	for wait := newBackoff(); ; {
		now := f.batch[:min(maxEvents, len(f.batch))]
		r := report{Seq: f.seq, Events: append([]reportEvent{}, now...)}
		r.Stats = f.stats()
		if first {
			r.Sessions = &f.held
			far := f.node.FarEnd()
			r.Endpoints, r.Operators = far.Endpoints, far.OperatorEndpoints
			r.Version = f.node.cfg.Version
			r.Beats, r.Region, r.Capacity = true, f.node.cfg.Region, f.node.cfg.Capacity
		}
		err := f.link.post(ctx, pathReport, r, nil)
		if err == nil {
			f.seq++
			f.drop(len(now))
			f.node.out.poke()
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f.node.cfg.Logger.Warn("a report did not get through", zap.Error(err))
		var refused *ControlError
		if errors.As(err, &refused) && refused.lasting() {
			if refused.Status != 401 && refused.Status != 403 {
				f.seq++
				f.drop(len(now)) // it would never get through
			}
			return err
		}
		if err := wait.sleep(ctx); err != nil {
			return err
		}
	}
}

// statsEvery is how often a report has the node's figures, which are gathered from all
// of its sessions: some hundred reports a second tell of wakes at times.
const statsEvery = time.Second

// stats are the node's figures, nil when control has had them just now.
func (f *follower) stats() *Stats {
	if time.Since(f.shown) < statsEvery {
		return nil
	}
	f.shown = time.Now()
	s := f.node.Stats()
	return &s
}

func (f *follower) drop(n int) { f.batch = append(f.batch[:0], f.batch[n:]...) }

// holding is what the node holds, for the first report of a follow.
func (n *Node) holding() []reportSession {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watch()
	list := make([]reportSession, 0, len(n.sessions))
	for id, h := range n.sessions {
		list = append(list, reportSession{Session: id, Rev: h.grant.Rev, Fresh: h.fresh})
	}
	return list
}

// traffic returns a bytes event for every session whose counters moved since the
// last call with the same map, which knows those in force.
func (n *Node) traffic(last map[string]uint64) []Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(last, func(id string, _ uint64) bool { return n.sessions[id] == nil })
	var list []Event
	now := n.clock().wall
	for id, h := range n.sessions {
		c := n.plane.Counters(id)
		if sum := c.Rx + c.Tx; sum != last[id] {
			last[id] = sum
			list = append(list, Event{At: now, Kind: KindBytes, Session: id, Rev: h.grant.Rev, Rx: c.Rx, Tx: c.Tx, From: h.heard[h.grant.Prekey].Addr()})
		}
	}
	return list
}
