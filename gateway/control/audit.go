package control

import (
	"sync"
	"time"

	"github.com/boothwire/boothwire/gateway/control/internal/store"
)

// What the audit names.
const (
	auditOpen    = "open"
	auditRefused = "open_refused"
	auditRequest = "request"
	auditJoin    = "join"
	auditExtend  = "extend"
	auditLeave   = "leave"
	auditClose   = "close"
	auditEnded   = "ended"
	auditCarried = "carried"         // what a session had carried when nothing of it was left
	auditStatus  = "status_refused"  // by control, counted
	auditCommand = "command_refused" // by a device, counted
	auditForeign = "foreign_key"
	auditClone   = "clone"
	auditReboot  = "new_boot"
	auditDevice  = "device"
	auditClaim   = "node_claimed"
	auditEnrol   = "node_enrolled"
	auditMoved   = "moved"
	auditLost    = "node_lost"
	auditDrain   = "node_drained"
	auditNode    = "node_refused" // counted
	auditToken   = "token"
	whoControl   = "control"
)

// maxCounted bounds the kinds of refusals that are told apart at a time: beyond it
// they are counted together.
const maxCounted = 10000

// maxCodes bounds the codes that are told apart of one who may make them up.
const maxCodes = 32

// codeOthers stands for the codes beyond those bounds.
const codeOthers = "others"

type countKey struct{ who, what, device, node, code string }

func (k countKey) anyCode() countKey {
	k.code = ""
	return k
}

type counted struct {
	row   store.Audit
	since time.Time
	dirty bool
}

// auditor gives audit rows their numbers, and counts refusals per device, code and
// minute, so that a flood costs one row a minute.
type auditor struct {
	mu     sync.Mutex
	last   int64
	counts map[countKey]*counted
	codes  map[countKey]int // of them, by all but the code
}

// add writes a row of its own.
func (a *auditor) add(s *store.Store, now time.Time, row store.Audit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.write(s, a.number(now, row))
}

// numbered gives a number to a row that somebody else writes.
func (a *auditor) numbered(now time.Time, row store.Audit) store.Audit {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.number(now, row)
}

func (a *auditor) number(now time.Time, row store.Audit) store.Audit {
	a.last++
	row.ID, row.At = a.last, now
	row.Count = max(row.Count, 1)
	return row
}

func (a *auditor) write(s *store.Store, row store.Audit) {
	s.Later("audit/"+itoa(row.ID), func(tx *store.Tx) error { return tx.AddAudit(row) })
}

// count adds n to the row of its kind and minute; the first is written at once. It
// reports whether it was the first.
func (a *auditor) count(s *store.Store, now time.Time, row store.Audit, n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.counts == nil {
		a.counts, a.codes = make(map[countKey]*counted), make(map[countKey]int)
	}
	k := countKey{row.Who, row.What, row.Device, row.Node, row.Code}
	c := a.counts[k]
	if c == nil && a.codes[k.anyCode()] >= maxCodes {
		k.code, row.Code = codeOthers, codeOthers
		c = a.counts[k]
	}
	if c == nil && len(a.counts) >= maxCounted {
		k = countKey{what: row.What, code: codeOthers}
		row = store.Audit{Who: whoControl, What: row.What, Code: k.code}
		c = a.counts[k]
	}
	if c != nil && now.Sub(c.since) < time.Minute {
		c.row.Count += n
		c.dirty = true
		return false
	}
	if c != nil && c.dirty {
		a.write(s, c.row)
	}
	if c == nil {
		a.codes[k.anyCode()]++
	}
	row.Count = n
	c = &counted{row: a.number(now, row), since: now}
	a.counts[k] = c
	a.write(s, c.row)
	return true
}

// flush writes the counts, and forgets those whose minute is over; a zero now is the
// end of all minutes.
func (a *auditor) flush(s *store.Store, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, c := range a.counts {
		if c.dirty {
			a.write(s, c.row)
			c.dirty = false
		}
		if now.IsZero() || now.Sub(c.since) >= time.Minute {
			delete(a.counts, k)
			if a.codes[k.anyCode()]--; a.codes[k.anyCode()] == 0 {
				delete(a.codes, k.anyCode())
			}
		}
	}
}

// note writes an audit row.
func (c *Control) note(row store.Audit) {
	if row.Who == "" {
		row.Who = whoControl
	}
	c.audit.add(c.store, c.cfg.Now(), row)
}
