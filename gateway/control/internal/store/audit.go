package store

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Audit is one audit row.
type Audit struct {
	ID                                     int64
	At                                     time.Time
	Who, What, Device, Session, Node, Code string
	Count                                  int
	Detail                                 string
	Rx, Tx                                 uint64 // bytes from the device and to it
}

// AddAudit writes a row, or, for an id that is there, its new count.
func (t *Tx) AddAudit(a Audit) error {
	return t.exec(`INSERT INTO audit (id, at, who, what, device, session, node, code, count, detail, rx, tx) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT (id) DO UPDATE SET count=excluded.count`,
		a.ID, micros(a.At), a.Who, a.What, a.Device, a.Session, a.Node, a.Code, a.Count, a.Detail, a.Rx, a.Tx)
}

// LastAudit returns the highest id; 0 when there is none.
func (s *Store) LastAudit(ctx context.Context) (int64, error) {
	return one(ctx, s, func(r row) (n int64, err error) { return n, r.Scan(&n) }, `SELECT COALESCE(MAX(id), 0) FROM audit`)
}

// AuditFilter narrows Audits.
type AuditFilter struct {
	Device, Session, Who, What string
	Since, Until               time.Time // Until is not among them; zero: no limit
	Text                       string    // contained in any of the texts, in whatever case
	Before                     int64     // id that the page before ended with; 0: from the latest
	Limit                      int
}

// maxLooked bounds the rows that one page looks at for a text.
const maxLooked = 20000

const auditColumns = `id, at, who, what, device, session, node, code, count, detail, rx, tx`

func scanAudit(r row) (a Audit, err error) {
	var at int64
	err = r.Scan(&a.ID, &at, &a.Who, &a.What, &a.Device, &a.Session, &a.Node, &a.Code, &a.Count, &a.Detail, &a.Rx, &a.Tx)
	a.At = fromMicros(at)
	return a, err
}

// Audits returns a page of rows, the latest first, and what the next page comes after;
// 0: this is the last. A page may be short and not the last, where a text is looked for
// in many rows.
func (s *Store) Audits(ctx context.Context, f AuditFilter) (list []Audit, next int64, err error) {
	query, args := f.query()
	looked, limit := 0, f.Limit
	if f.Text != "" {
		limit = max(limit, maxLooked)
	}
	rows, err := all(ctx, s, func(r row) (a Audit, err error) {
		looked++
		return scanAudit(r)
	}, query, append(args, limit)...)
	for _, a := range rows {
		if f.Text != "" && !a.has(f.Text) {
			continue
		}
		if list = append(list, a); len(list) == f.Limit {
			return list, a.ID, err
		}
	}
	if looked > 0 && looked == limit {
		next = rows[looked-1].ID
	}
	return list, next, err
}

// query finds the rows of f but for its text, by one index each.
func (f AuditFilter) query() (string, []any) {
	query, args := `SELECT `+auditColumns+` FROM audit WHERE 1=1`, []any(nil)
	for _, c := range []struct{ column, value string }{{"device", f.Device}, {"session", f.Session}, {"who", f.Who}, {"what", f.What}} {
		if c.value != "" {
			query, args = query+` AND `+c.column+`=?`, append(args, c.value)
		}
	}
	if !f.Since.IsZero() {
		query, args = query+` AND at>=?`, append(args, micros(f.Since))
	}
	if !f.Until.IsZero() {
		query, args = query+` AND at<?`, append(args, micros(f.Until))
	}
	if f.Before > 0 {
		query, args = query+` AND (at, id) < ((SELECT at FROM audit WHERE id=?), ?)`, append(args, f.Before, f.Before)
	}
	return query + ` ORDER BY at DESC, id DESC LIMIT ?`, args
}

// has reports whether a text stands in a row.
func (a *Audit) has(text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc([]string{a.Who, a.What, a.Device, a.Session, a.Node, a.Code, a.Detail}, func(s string) bool {
		return strings.Contains(strings.ToLower(s), text)
	})
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
