package control

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/internal/store"
)

// record is what is written of a session: its row, and what the audit has of its
// beginning and end. They are written together, or a process that is killed between
// the two leaves one without the other.
type record struct {
	row   store.Session
	notes []store.Audit
}

func (r record) put(tx *store.Tx) error {
	err := tx.PutSession(r.row)
	for _, n := range r.notes {
		err = errors.Join(err, tx.AddAudit(n))
	}
	return err
}

// record is a snapshot; mu is held.
func (s *session) record() record { return record{s.row(), s.notes} }

// noteOf has the audit of s written with it; mu is held.
func (c *Control) noteOf(s *session, row store.Audit) {
	if row.Who == "" {
		row.Who = whoControl
	}
	s.notes = append(s.notes, c.audit.numbered(c.cfg.Now(), row))
}

// former is the latest session of a device that is over. Before it is written no other
// must be: whoever took over then would find two of one device.
type former struct {
	record record
	at     time.Time
}

// formerFor is how long a former session is written again with the next one, unless
// the database is away: all is written long before.
const formerFor = time.Minute

// before are the sessions of s's device that come before it; mu is held.
func (s *session) before() []record {
	var list []record
	if s.dev.former != nil {
		list = append(list, s.dev.former.record)
	}
	for _, o := range s.dev.closing {
		if o != s {
			list = append(list, o.record())
		}
	}
	return list
}

// forgetFormer frees what is written; mu is held.
func (c *Control) forgetFormer(now time.Time) {
	if c.store.Stats().Lag > time.Second {
		return
	}
	for _, d := range c.devices {
		if d.former != nil && now.Sub(d.former.at) > formerFor {
			d.former = nil
		}
	}
}

// writtenTimeout bounds what who closes a session waits for its row.
const writtenTimeout = 2 * time.Second

// written waits until s is written as it is, so that what was answered holds over a
// kill. How it is the write itself asks: by then a later row may have been written. A
// database that is away is waited for by the writes behind.
func (c *Control) written(ctx context.Context, s *session) {
	ctx, cancel := context.WithTimeout(ctx, writtenTimeout)
	defer cancel()
	if err := c.store.Do(ctx, func(tx *store.Tx) error {
		c.mu.Lock()
		r := s.record()
		c.mu.Unlock()
		return r.put(tx)
	}); err != nil {
		c.log.Warn("not written yet", zap.String("session", s.id), zap.Error(err))
	}
}
