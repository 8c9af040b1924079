package store

import (
	"context"
	"time"
)

// Login is somebody who is signed in at a console. The secret of his browser is not
// here, nor what opens Refresh.
type Login struct {
	ID, Hash              string
	Source, Name, Subject string
	Groups                []string // at his provider
	Refresh               string   // sealed
	Began, Seen           time.Time
	Confirmed             time.Time
}

// Logins returns at most so many, the latest first.
func (s *Store) Logins(ctx context.Context, most int) ([]Login, error) {
	return all(ctx, s, func(r row) (l Login, err error) {
		var began, seen, confirmed int64
		var groups string
		if err = r.Scan(&l.ID, &l.Hash, &l.Source, &l.Name, &l.Subject, &groups, &l.Refresh, &began, &seen, &confirmed); err == nil {
			l.Groups, err = fromText[string](groups)
		}
		l.Began, l.Seen, l.Confirmed = fromMicros(began), fromMicros(seen), fromMicros(confirmed)
		return l, err
	}, `SELECT id, hash, source, name, subject, groups_, refresh, began, seen, confirmed FROM logins ORDER BY began DESC, id DESC LIMIT ?`, most)
}

// PutLogin writes a login.
func (t *Tx) PutLogin(l Login) error {
	return t.exec(`INSERT INTO logins (id, hash, source, name, subject, groups_, refresh, began, seen, confirmed) VALUES (?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT (id) DO UPDATE SET hash=excluded.hash, source=excluded.source, name=excluded.name, subject=excluded.subject, groups_=excluded.groups_,
		refresh=excluded.refresh, began=excluded.began, seen=excluded.seen, confirmed=excluded.confirmed`,
		l.ID, l.Hash, l.Source, l.Name, l.Subject, text(l.Groups), l.Refresh, micros(l.Began), micros(l.Seen), micros(l.Confirmed))
}

// SeeLogin says when the user was last there; of a login that has ended it is nothing.
func (t *Tx) SeeLogin(id string, at time.Time) error {
	return t.exec(`UPDATE logins SET seen=? WHERE id=?`, micros(at), id)
}

// DeleteLogins removes logins, of which some may be gone already.
func (t *Tx) DeleteLogins(ids ...string) error {
	for _, id := range ids {
		if err := t.exec(`DELETE FROM logins WHERE id=?`, id); err != nil {
			return err
		}
	}
	return nil
}

// ForgetLogins removes those that began before a time, and all beyond so many.
func (t *Tx) ForgetLogins(before time.Time, most int) error {
	if err := t.exec(`DELETE FROM logins WHERE began<?`, micros(before)); err != nil {
		return err
	}
	return t.exec(`DELETE FROM logins WHERE id IN (SELECT id FROM logins ORDER BY began DESC, id DESC LIMIT 1000000000 OFFSET ?)`, most)
}
