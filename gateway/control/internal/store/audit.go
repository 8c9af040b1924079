package store

import (
	"context"
	"time"
)

// Audit is one audit row.
type Audit struct {
	ID                                     int64
	At                                     time.Time
	Who, What, Device, Session, Node, Code string
	Count                                  int
	Detail                                 string
}

// AddAudit writes a row, or, for an id that is there, its new count.
func (t *Tx) AddAudit(a Audit) error {
	return t.exec(`INSERT INTO audit (id, at, who, what, device, session, node, code, count, detail) VALUES (?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT (id) DO UPDATE SET count=excluded.count`,
		a.ID, micros(a.At), a.Who, a.What, a.Device, a.Session, a.Node, a.Code, a.Count, a.Detail)
}

// LastAudit returns the highest id; 0 when there is none.
func (s *Store) LastAudit(ctx context.Context) (int64, error) {
	return one(ctx, s, func(r row) (n int64, err error) { return n, r.Scan(&n) }, `SELECT COALESCE(MAX(id), 0) FROM audit`)
}

// AuditFilter narrows Audits.
type AuditFilter struct {
	Device, Session string
	Before          int64 // id; 0: from the latest
	Limit           int
}

// Audits returns a page of rows, the latest first.
func (s *Store) Audits(ctx context.Context, f AuditFilter) ([]Audit, error) {
	query, args := `SELECT id, at, who, what, device, session, node, code, count, detail FROM audit WHERE 1=1`, []any(nil)
	if f.Device != "" {
		query, args = query+` AND device=?`, append(args, f.Device)
	}
	if f.Session != "" {
		query, args = query+` AND session=?`, append(args, f.Session)
	}
	if f.Before > 0 {
		query, args = query+` AND id<?`, append(args, f.Before)
	}
	return all(ctx, s, func(r row) (a Audit, err error) {
		var at int64
		err = r.Scan(&a.ID, &at, &a.Who, &a.What, &a.Device, &a.Session, &a.Node, &a.Code, &a.Count, &a.Detail)
		a.At = fromMicros(at)
		return a, err
	}, query+` ORDER BY id DESC LIMIT ?`, append(args, f.Limit)...)
}

// Token is a bearer token; its secret is not here.
type Token struct {
	ID, Hash, User, Role string
	Groups               []string
	Created, Expires     time.Time
}

// Tokens returns all tokens by the time of their creation.
func (s *Store) Tokens(ctx context.Context) ([]Token, error) {
	return all(ctx, s, func(r row) (k Token, err error) {
		var created, expires int64
		var groups string
		if err = r.Scan(&k.ID, &k.Hash, &k.User, &k.Role, &groups, &created, &expires); err == nil {
			k.Groups, err = fromText[string](groups)
		}
		k.Created, k.Expires = fromMicros(created), fromMicros(expires)
		return k, err
	}, `SELECT id, hash, username, role, groups_, created, expires FROM tokens ORDER BY created, id`)
}

// AddToken writes a token.
func (t *Tx) AddToken(k Token) error {
	return t.exec(`INSERT INTO tokens (id, hash, username, role, groups_, created, expires) VALUES (?,?,?,?,?,?,?)`,
		k.ID, k.Hash, k.User, k.Role, text(k.Groups), micros(k.Created), micros(k.Expires))
}

// DeleteToken removes a token; ErrAbsent when there is none.
func (t *Tx) DeleteToken(id string) error {
	n, err := t.change(`DELETE FROM tokens WHERE id=?`, id)
	if err == nil && n == 0 {
		return ErrAbsent
	}
	return err
}
