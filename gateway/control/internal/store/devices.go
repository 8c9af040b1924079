package store

import (
	"context"
	"strings"
	"time"
)

// Device is a registered device, with what it last said.
type Device struct {
	ID, Key, Group string // Key: identity key as text
	Gen            int
	Created        time.Time

	State, Version string
	Caps           []string
	Seen, Due      time.Time
	Roots          int

	Boot       string
	Seq        uint64 // of the latest statement of Boot
	RequestSeq uint64 // of the latest request of Boot
	Batch      int    // number of the latest batch of Boot
	Prekeys    []string
	SSH, RDP   string // hashes of its host keys

	Foreign   string // another key seen
	ForeignAt time.Time

	NAT        string    // what its network is, as it says
	ClonedAt   time.Time // when two runs of it were seen last
	LastFailed string    // code of its latest session, if that failed
	Checks     string    // what it found of its host: JSON as it says it, or empty
}

const deviceColumns = `id, identity, grp, gen, created, state, version, caps, seen, due, roots, boot, seq, request_seq, batch, prekeys, ssh_hash, rdp_hash, foreign_key_seen, foreign_at, nat, cloned_at, last_failed, checks`

func scanDevice(r row) (d Device, err error) {
	var created, seen, due, foreign, cloned int64
	var caps, prekeys string
	if err = r.Scan(&d.ID, &d.Key, &d.Group, &d.Gen, &created, &d.State, &d.Version, &caps, &seen, &due, &d.Roots, &d.Boot,
		&d.Seq, &d.RequestSeq, &d.Batch, &prekeys, &d.SSH, &d.RDP, &d.Foreign, &foreign,
		&d.NAT, &cloned, &d.LastFailed, &d.Checks); err != nil {
		return d, err
	}
	d.Created, d.Seen, d.Due, d.ForeignAt, d.ClonedAt = fromMicros(created), fromMicros(seen), fromMicros(due), fromMicros(foreign), fromMicros(cloned)
	if d.Caps, err = fromText[string](caps); err != nil {
		return d, err
	}
	d.Prekeys, err = fromText[string](prekeys)
	return d, err
}

// Devices returns the registered devices by id.
func (s *Store) Devices(ctx context.Context) ([]Device, error) {
	return all(ctx, s, scanDevice, `SELECT `+deviceColumns+` FROM devices ORDER BY id`)
}

// PutDevice writes a device; it must not be there under another key unless the
// caller wants it replaced.
func (t *Tx) PutDevice(d Device) error { return t.PutDevices([]Device{d}) }

// putAtOnce are how many devices one statement writes: each takes as long as the server
// is far away, and a fleet is one transaction.
var putAtOnce = []int{256, 16, 1}

// PutDevices is PutDevice for many, of which none is there twice.
func (t *Tx) PutDevices(list []Device) error {
	for _, n := range putAtOnce {
		for ; len(list) >= n; list = list[n:] {
			if err := t.putDevices(list[:n]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *Tx) putDevices(list []Device) error {
	const row = `(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`
	var args []any
	for _, d := range list {
		args = append(args, d.ID, d.Key, d.Group, d.Gen, micros(d.Created), d.State, d.Version, text(d.Caps), micros(d.Seen), micros(d.Due), d.Roots,
			d.Boot, d.Seq, d.RequestSeq, d.Batch, text(d.Prekeys), d.SSH, d.RDP, d.Foreign, micros(d.ForeignAt),
			d.NAT, micros(d.ClonedAt), d.LastFailed, d.Checks)
	}
	return t.exec(`INSERT INTO devices (`+deviceColumns+`) VALUES `+row+strings.Repeat(`,`+row, len(list)-1)+`
		ON CONFLICT (id) DO UPDATE SET identity=excluded.identity, grp=excluded.grp, gen=excluded.gen, created=excluded.created,
		state=excluded.state, version=excluded.version, caps=excluded.caps, seen=excluded.seen, due=excluded.due,
		roots=excluded.roots, boot=excluded.boot, seq=excluded.seq, request_seq=excluded.request_seq, batch=excluded.batch,
		prekeys=excluded.prekeys, ssh_hash=excluded.ssh_hash, rdp_hash=excluded.rdp_hash,
		foreign_key_seen=excluded.foreign_key_seen, foreign_at=excluded.foreign_at,
		nat=excluded.nat, cloned_at=excluded.cloned_at, last_failed=excluded.last_failed, checks=excluded.checks`, args...)
}

// UpdateDevice writes what a device said; one that is gone meanwhile stays gone.
func (t *Tx) UpdateDevice(d Device) error {
	return t.exec(`UPDATE devices SET state=?, version=?, caps=?, seen=?, due=?, roots=?, boot=?, seq=?, request_seq=?,
		batch=?, prekeys=?, ssh_hash=?, rdp_hash=?, foreign_key_seen=?, foreign_at=?, nat=?, cloned_at=?, last_failed=?, checks=? WHERE id=? AND identity=?`,
		d.State, d.Version, text(d.Caps), micros(d.Seen), micros(d.Due), d.Roots, d.Boot, d.Seq, d.RequestSeq,
		d.Batch, text(d.Prekeys), d.SSH, d.RDP, d.Foreign, micros(d.ForeignAt),
		d.NAT, micros(d.ClonedAt), d.LastFailed, d.Checks, d.ID, d.Key)
}

// DeleteDevice removes a device, its boots and the commands that wait for it.
func (t *Tx) DeleteDevice(id string) error {
	for _, q := range []string{`DELETE FROM commands WHERE device=?`, `DELETE FROM boots WHERE device=?`, `DELETE FROM devices WHERE id=?`} {
		if err := t.exec(q, id); err != nil {
			return err
		}
	}
	return nil
}

// Boot is a run of a device that is over.
type Boot struct{ Device, Boot string }

// maxBoots bounds what is remembered of a device that restarts all the time.
const maxBoots = 64

// EndBoot remembers that a run of a device is over.
func (t *Tx) EndBoot(device, boot string, at time.Time) error {
	if err := t.exec(`INSERT INTO boots (device, boot, ended) VALUES (?,?,?)
		ON CONFLICT (device, boot) DO UPDATE SET ended=excluded.ended`, device, boot, micros(at)); err != nil {
		return err
	}
	return t.exec(`DELETE FROM boots WHERE device=? AND boot NOT IN
		(SELECT boot FROM boots WHERE device=? ORDER BY ended DESC LIMIT ?)`, device, device, maxBoots)
}

// ReviveBoot forgets that a run is over.
func (t *Tx) ReviveBoot(device, boot string) error {
	return t.exec(`DELETE FROM boots WHERE device=? AND boot=?`, device, boot)
}

// Boots returns all runs that are over, the oldest first.
func (s *Store) Boots(ctx context.Context) ([]Boot, error) {
	return all(ctx, s, func(r row) (b Boot, err error) {
		return b, r.Scan(&b.Device, &b.Boot)
	}, `SELECT device, boot FROM boots ORDER BY ended`)
}

// SpendPrekey spends a one-time key for session; ErrTaken when it was spent before.
func (t *Tx) SpendPrekey(key, device, session string, at time.Time) error {
	n, err := t.change(`INSERT INTO prekeys (prekey, device, session, spent) VALUES (?,?,?,?) ON CONFLICT (prekey) DO NOTHING`,
		key, device, session, micros(at))
	if err == nil && n == 0 {
		return ErrTaken
	}
	return err
}

// ForgetPrekeys removes keys that were spent before a time.
func (t *Tx) ForgetPrekeys(before time.Time) error {
	return t.exec(`DELETE FROM prekeys WHERE spent < ?`, micros(before))
}

// SpentPrekeys returns which of a device's keys are spent, by key.
func (s *Store) SpentPrekeys(ctx context.Context, device string) (map[string]string, error) {
	type spent struct{ key, session string }
	list, err := all(ctx, s, func(r row) (p spent, err error) {
		return p, r.Scan(&p.key, &p.session)
	}, `SELECT prekey, session FROM prekeys WHERE device=?`, device)
	m := make(map[string]string, len(list))
	for _, p := range list {
		m[p.key] = p.session
	}
	return m, err
}

// Command waits for a device that polls.
type Command struct {
	N       uint64
	Command []byte
	At      time.Time
}

// PushCommand appends a command to a device's queue and returns its number: the one
// after the last, and at least floor. ErrAbsent: no such device. ErrTaken: depth
// commands wait already. A command whose very bytes wait is not added again. What
// was queued before expired is dropped.
func (t *Tx) PushCommand(device string, command []byte, floor uint64, at, expired time.Time, depth int) (n uint64, err error) {
	if err := t.exec(`DELETE FROM commands WHERE device=? AND queued<?`, device, micros(expired)); err != nil {
		return 0, err
	}
	found, waiting, same := false, 0, uint64(0)
	if err := t.query(func(r row) error { found = true; return r.Scan(&n) }, `SELECT queue_n FROM devices WHERE id=?`, device); err != nil {
		return 0, err
	}
	if !found {
		return 0, ErrAbsent
	}
	err = t.query(func(r row) error {
		var c []byte
		var at uint64
		waiting++
		err := r.Scan(&at, &c)
		if string(c) == string(command) {
			same = at
		}
		return err
	}, `SELECT n, command FROM commands WHERE device=?`, device)
	switch {
	case err != nil:
		return 0, err
	case same != 0:
		return same, nil
	case waiting >= depth:
		return 0, ErrTaken
	}
	n = max(n+1, floor)
	if err := t.exec(`UPDATE devices SET queue_n=? WHERE id=?`, n, device); err != nil {
		return 0, err
	}
	return n, t.exec(`INSERT INTO commands (device, n, command, queued) VALUES (?,?,?,?)`, device, n, command, micros(at))
}

// AckCommands removes a device's commands up to n.
func (t *Tx) AckCommands(device string, n uint64) error {
	return t.exec(`DELETE FROM commands WHERE device=? AND n<=?`, device, n)
}

// ForgetCommands removes commands that were queued before a time.
func (t *Tx) ForgetCommands(before time.Time) error {
	return t.exec(`DELETE FROM commands WHERE queued < ?`, micros(before))
}

// Commands returns the commands that wait for a device and were queued since.
func (s *Store) Commands(ctx context.Context, device string, since time.Time) ([]Command, error) {
	return all(ctx, s, scanCommand, `SELECT n, command, queued FROM commands WHERE device=? AND queued>=? ORDER BY n`, device, micros(since))
}

func scanCommand(r row) (c Command, err error) {
	var at int64
	err = r.Scan(&c.N, &c.Command, &at)
	c.At = fromMicros(at)
	return c, err
}

// Meta returns a value of the database itself; ErrAbsent when it was never set.
func (s *Store) Meta(ctx context.Context, name string) (string, error) {
	return one(ctx, s, func(r row) (v string, err error) { return v, r.Scan(&v) }, `SELECT value FROM meta WHERE name=?`, name)
}

// InitMeta sets a value of the database itself unless it is set.
func (t *Tx) InitMeta(name, value string) error {
	return t.exec(`INSERT INTO meta (name, value) VALUES (?,?) ON CONFLICT (name) DO NOTHING`, name, value)
}
