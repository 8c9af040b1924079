package store

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Session is one session, with its operators, latest grant and ladder.
type Session struct {
	ID, Device, Node, State, Stage string
	Clean                          bool // nothing is left to be done about it
	Rev, Installed, Acked          int
	Ready, Proved                  bool
	Code, Why, Path, PathWhy       string
	RTT                            time.Duration
	Address, Boot, Prekey, Nonce   string
	Bare, EndToEnd                 bool
	Reason, Ticket, User, Role     string
	Lifetime, Longest              time.Duration
	Opened, Ends, Closed           time.Time
	Rx, Tx                         uint64
	Direct, Relay                  time.Duration // by each kind of path
	Samples                        []Sample

	Operators []Operator
	Steps     []Step
	Grant     string   // of Rev; only in OpenSessions
	Cut       int      // the latest revision that removed an operator; likewise
	Nodes     []string // that revisions name, "" for one of which it is not known; likewise
}

// Sample is how a session's path was at a moment; whole seconds and microseconds are
// kept.
type Sample struct {
	After    int64  `json:"s"` // seconds since the session was opened
	Path     string `json:"p"`
	RTT      int64  `json:"r"` // microseconds
	Degraded bool   `json:"d,omitempty"`
}

// Operator is one person in a session.
type Operator struct {
	ID, User, Key, Address string
	Ports                  []string
	Added, Removed         time.Time
}

// Step is one step of a ladder.
type Step struct {
	Stage, Code, By string
	After           time.Duration
}

const sessionColumns = `id, device, node, state, clean, stage, rev, installed, acked, ready, proved, code, why, path, rtt, address, boot, prekey, nonce, bare, reason, ticket, username, role, lifetime, opened, ends, closed, rx, tx, end_to_end, longest, path_why, direct, relay, samples`

func scanSession(r row) (s Session, err error) {
	var clean, ready, proved, bare, rtt, lifetime, opened, ends, closed, endToEnd, longest, direct, relay int64
	var samples string
	err = r.Scan(&s.ID, &s.Device, &s.Node, &s.State, &clean, &s.Stage, &s.Rev, &s.Installed, &s.Acked, &ready, &proved, &s.Code,
		&s.Why, &s.Path, &rtt, &s.Address, &s.Boot, &s.Prekey, &s.Nonce, &bare, &s.Reason, &s.Ticket, &s.User, &s.Role,
		&lifetime, &opened, &ends, &closed, &s.Rx, &s.Tx, &endToEnd, &longest, &s.PathWhy, &direct, &relay, &samples)
	s.Clean, s.Ready, s.Proved, s.Bare, s.EndToEnd = clean != 0, ready != 0, proved != 0, bare != 0, endToEnd != 0
	s.RTT, s.Lifetime = time.Duration(rtt)*time.Microsecond, time.Duration(lifetime)*time.Microsecond
	s.Longest = time.Duration(longest) * time.Microsecond
	s.Direct, s.Relay = time.Duration(direct)*time.Microsecond, time.Duration(relay)*time.Microsecond
	s.Opened, s.Ends, s.Closed = fromMicros(opened), fromMicros(ends), fromMicros(closed)
	if err == nil {
		s.Samples, err = fromText[Sample](samples)
	}
	return s, err
}

// PutSession writes a session with its operators and ladder, not its grant.
func (t *Tx) PutSession(s Session) error {
	err := t.exec(`INSERT INTO sessions (`+sessionColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT (id) DO UPDATE SET node=excluded.node, state=excluded.state, clean=excluded.clean, stage=excluded.stage,
		rev=excluded.rev, installed=excluded.installed, acked=excluded.acked, ready=excluded.ready, proved=excluded.proved,
		code=excluded.code, why=excluded.why, path=excluded.path, rtt=excluded.rtt, address=excluded.address, boot=excluded.boot,
		prekey=excluded.prekey, nonce=excluded.nonce, lifetime=excluded.lifetime, ends=excluded.ends, closed=excluded.closed,
		rx=excluded.rx, tx=excluded.tx, longest=excluded.longest,
		path_why=excluded.path_why, direct=excluded.direct, relay=excluded.relay, samples=excluded.samples`,
		s.ID, s.Device, s.Node, s.State, flag(s.Clean), s.Stage, s.Rev, s.Installed, s.Acked, flag(s.Ready), flag(s.Proved), s.Code,
		s.Why, s.Path, s.RTT.Microseconds(), s.Address, s.Boot, s.Prekey, s.Nonce, flag(s.Bare), s.Reason, s.Ticket, s.User, s.Role,
		s.Lifetime.Microseconds(), micros(s.Opened), micros(s.Ends), micros(s.Closed), s.Rx, s.Tx,
		flag(s.EndToEnd), s.Longest.Microseconds(), s.PathWhy, s.Direct.Microseconds(), s.Relay.Microseconds(), text(s.Samples))
	if err != nil {
		return err
	}
	for _, o := range s.Operators {
		if err := t.exec(`INSERT INTO operators (session, id, username, wg_key, address, ports, added, removed) VALUES (?,?,?,?,?,?,?,?)
			ON CONFLICT (session, id) DO UPDATE SET removed=excluded.removed, ports=excluded.ports`,
			s.ID, o.ID, o.User, o.Key, o.Address, text(o.Ports), micros(o.Added), micros(o.Removed)); err != nil {
			return err
		}
	}
	for n, p := range s.Steps {
		if err := t.exec(`INSERT INTO steps (session, n, stage, after_us, code, reporter) VALUES (?,?,?,?,?,?) ON CONFLICT (session, n) DO NOTHING`,
			s.ID, n, p.Stage, p.After.Microseconds(), p.Code, p.By); err != nil {
			return err
		}
	}
	return nil
}

// AddGrant writes one revision's grant and the node that it names; earlier ones keep no
// token. One of the same number was never handed out: nobody knew whether it had been
// written.
func (t *Tx) AddGrant(session string, rev int, node, token string, at time.Time) error {
	if err := t.exec(`UPDATE grants SET token='' WHERE session=?`, session); err != nil {
		return err
	}
	return t.exec(`INSERT INTO grants (session, rev, node, token, issued) VALUES (?,?,?,?,?)
		ON CONFLICT (session, rev) DO UPDATE SET node=excluded.node, token=excluded.token, issued=excluded.issued`,
		session, rev, node, token, micros(at))
}

// SessionFilter narrows Sessions.
type SessionFilter struct {
	Device string
	After  string // id of the last one of the page before
	Limit  int
}

// Sessions returns a page of sessions, the latest first.
func (s *Store) Sessions(ctx context.Context, f SessionFilter) ([]Session, error) {
	query, args := `SELECT `+sessionColumns+` FROM sessions WHERE 1=1`, []any(nil)
	if f.Device != "" {
		query, args = query+` AND device=?`, append(args, f.Device)
	}
	if f.After != "" {
		query += ` AND (opened < (SELECT opened FROM sessions WHERE id=?) OR (opened = (SELECT opened FROM sessions WHERE id=?) AND id < ?))`
		args = append(args, f.After, f.After, f.After)
	}
	list, err := all(ctx, s, scanSession, query+` ORDER BY opened DESC, id DESC LIMIT ?`, append(args, f.Limit)...)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, nil
	}
	ids := make([]any, len(list))
	for i, v := range list {
		ids[i] = v.ID
	}
	return list, s.fill(ctx, list, `session IN (?`+strings.Repeat(`,?`, len(ids)-1)+`)`, ids...)
}

// ClosedSince returns the ids of the sessions that are over since a time, the
// earliest first, with when.
func (s *Store) ClosedSince(ctx context.Context, at time.Time) ([]Session, error) {
	return all(ctx, s, func(r row) (v Session, err error) {
		var closed int64
		err = r.Scan(&v.ID, &closed)
		v.Closed = fromMicros(closed)
		return v, err
	}, `SELECT id, closed FROM sessions WHERE closed>=? ORDER BY closed, id`, micros(at))
}

// Session returns one session; ErrAbsent when there is none.
func (s *Store) Session(ctx context.Context, id string) (Session, error) {
	v, err := one(ctx, s, scanSession, `SELECT `+sessionColumns+` FROM sessions WHERE id=?`, id)
	if err != nil {
		return v, err
	}
	list := []Session{v}
	err = s.fill(ctx, list, `session=?`, id)
	return list[0], err
}

// OpenSessions returns the sessions about which something is left to be done, with
// their grants. However many they are it asks a few times: whoever takes the lead has
// no longer for it than a lease lasts, and the server may be far.
func (s *Store) OpenSessions(ctx context.Context) ([]Session, error) {
	const open = `session IN (SELECT id FROM sessions WHERE clean=0)`
	list, err := all(ctx, s, scanSession, `SELECT `+sessionColumns+` FROM sessions WHERE clean=0 ORDER BY opened, id`)
	if err == nil {
		err = s.fill(ctx, list, open)
	}
	if err != nil {
		return nil, err
	}
	// A grant is written before the session's row is written again.
	grants, err := all(ctx, s, func(r row) (g Session, err error) {
		var issued int64
		err = r.Scan(&g.ID, &g.Rev, &g.Node, &g.Grant, &issued)
		g.Opened = fromMicros(issued)
		return g, err
	}, `SELECT session, rev, node, token, issued FROM grants WHERE `+open+` ORDER BY rev`)
	of := byID(list)
	for _, g := range grants {
		v := of[g.ID]
		if v == nil {
			continue
		}
		v.Rev, v.Grant = g.Rev, g.Grant
		if !slices.Contains(v.Nodes, g.Node) {
			v.Nodes = append(v.Nodes, g.Node)
		}
		// Whom a revision removes is removed when it is issued.
		if slices.ContainsFunc(v.Operators, func(o Operator) bool { return o.Removed.Equal(g.Opened) }) {
			v.Cut = g.Rev
		}
	}
	return list, err
}

func byID(list []Session) map[string]*Session {
	m := make(map[string]*Session, len(list))
	for i := range list {
		m[list[i].ID] = &list[i]
	}
	return m
}

// part is an operator or a step, and of which session.
type part[T any] struct {
	session string
	value   T
}

// fill adds their operators and ladders to sessions, which the condition which names.
func (s *Store) fill(ctx context.Context, list []Session, which string, args ...any) error {
	operators, err := all(ctx, s, func(r row) (p part[Operator], err error) {
		o := &p.value
		var ports string
		var added, removed int64
		if err = r.Scan(&p.session, &o.ID, &o.User, &o.Key, &o.Address, &ports, &added, &removed); err == nil {
			o.Ports, err = fromText[string](ports)
		}
		o.Added, o.Removed = fromMicros(added), fromMicros(removed)
		return p, err
	}, `SELECT session, id, username, wg_key, address, ports, added, removed FROM operators WHERE `+which+` ORDER BY added, id`, args...)
	if err != nil {
		return err
	}
	steps, err := all(ctx, s, func(r row) (p part[Step], err error) {
		var after int64
		err = r.Scan(&p.session, &p.value.Stage, &after, &p.value.Code, &p.value.By)
		p.value.After = time.Duration(after) * time.Microsecond
		return p, err
	}, `SELECT session, stage, after_us, code, reporter FROM steps WHERE `+which+` ORDER BY n`, args...)
	of := byID(list)
	for _, p := range operators {
		if v := of[p.session]; v != nil {
			v.Operators = append(v.Operators, p.value)
		}
	}
	for _, p := range steps {
		if v := of[p.session]; v != nil {
			v.Steps = append(v.Steps, p.value)
		}
	}
	return err
}
