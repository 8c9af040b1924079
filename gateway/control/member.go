package control

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// Member is one of the control processes of a deployment. While it has the lead it is
// a Control; else it carries what comes to it to the one that has. On a database of
// its own it always has. It is safe for concurrent use; Close ends its life.
type Member struct {
	dsn    string
	cfg    *Config
	log    *zap.Logger
	now    func() time.Time
	db     *store.Store // to see who has the lead; nil: the database is its own
	secret string       // by which members know each other
	way    *carrier
	large  chan struct{} // full: no other large body is read
	ctx    context.Context
	stop   context.CancelFunc // by Close
	runs   sync.WaitGroup

	mu     sync.Mutex
	c      *Control // nil: another has the lead, or nobody
	other  *other   // nil: nobody else has
	change chan struct{}
	wakes  []func(device string)
}

// other is a term of another process.
type other struct {
	store.Lead
	seen time.Time // when it was last found in force
	ctx  context.Context
	end  context.CancelFunc
}

// nameSecret is where the database keeps the secret of its members: whoever may read
// it may say that a call comes from a node, which has no authority.
const nameSecret = "carry_secret"

// Join opens a member of the deployment whose database dsn names, as for Open. With
// SQLite it is the only one, and ready; with PostgreSQL it waits for the lead in Run.
// Config.URL is needed for others to carry calls to it. ctx bounds the call.
func Join(ctx context.Context, dsn string, cfg *Config) (*Member, error) {
	settled, err := cfg.settled()
	if err != nil {
		return nil, err
	}
	m := &Member{dsn: dsn, cfg: cfg, log: settled.Logger, now: settled.Now, change: make(chan struct{}), large: make(chan struct{}, maxLarge)}
	m.ctx, m.stop = context.WithCancel(context.Background())
	if !store.IsPostgres(dsn) {
		m.c, err = Open(ctx, dsn, cfg)
		if err != nil {
			return nil, err
		}
		return m, nil
	}
	if _, _, err := openSigner(settled.Store, settled.Issuer); err != nil {
		return nil, err
	}
	if m.db, err = store.Open(ctx, dsn); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if m.secret, err = sharedSecret(ctx, m.db); err != nil {
		return nil, errors.Join(fmt.Errorf("control: %w", err), m.db.Close())
	}
	m.way = newCarrier()
	return m, nil
}

func sharedSecret(ctx context.Context, db *store.Store) (string, error) {
	var b [32]byte
	rand.Read(b[:])
	if err := db.Do(ctx, func(tx *store.Tx) error {
		return tx.InitMeta(nameSecret, base64.RawURLEncoding.EncodeToString(b[:]))
	}); err != nil {
		return "", err
	}
	return db.Meta(ctx, nameSecret)
}

// Run serves devices through lines whenever this member has the lead, until ctx ends;
// it then returns ctx's error. One Run at a time.
func (m *Member) Run(ctx context.Context, lines ...signaling.Sender) error {
	if m.db == nil {
		return m.c.Run(ctx, lines...)
	}
	m.mu.Lock()
	if m.ctx.Err() != nil {
		m.mu.Unlock()
		return fmt.Errorf("control: %w", net.ErrClosed)
	}
	m.runs.Add(1)
	m.mu.Unlock()
	defer m.runs.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(m.ctx, func() { cancel(fmt.Errorf("control: %w", net.ErrClosed)) })()
	var watch sync.WaitGroup
	defer watch.Wait()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watch.Go(func() { m.watch(watching) })
	for ctx.Err() == nil {
		c, err := Open(ctx, m.dsn, m.cfg)
		if err != nil {
			if ctx.Err() == nil {
				m.log.Error("the lead cannot be taken", zap.Error(err))
				m.sleep(ctx, leaseLook)
			}
			continue
		}
		m.begin(c)
		err = c.Run(ctx, lines...)
		if ctx.Err() != nil {
			break // requests under way may still end; Close ends the rest
		}
		m.log.Warn("a term is over", zap.Error(err))
		m.end(c)
		if err := c.Close(); err != nil {
			m.log.Error("close", zap.Error(err))
		}
	}
	return context.Cause(ctx)
}

func (m *Member) sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// begin makes c what decides here.
func (m *Member) begin(c *Control) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.c = c
	m.see(nil)
	c.Notify(m.wake)
}

// end lets the devices that poll here poll again, to hear of whoever decides now.
func (m *Member) end(c *Control) {
	m.mu.Lock()
	m.c = nil
	m.changed()
	m.mu.Unlock()
	c.mu.Lock()
	var ids []string
	for id := range c.devices {
		ids = append(ids, id)
	}
	c.mu.Unlock()
	for _, id := range ids {
		m.wake(id)
	}
}

// changed wakes who waits for a lead; mu is held.
func (m *Member) changed() {
	close(m.change)
	m.change = make(chan struct{})
}

// watch looks who has the lead, until ctx ends.
func (m *Member) watch(ctx context.Context) {
	for ctx.Err() == nil {
		look, cancel := context.WithTimeout(ctx, leaseWait)
		l, err := m.db.Lead(look)
		cancel()
		m.mu.Lock()
		switch {
		case m.c != nil:
		case err == nil && l.Left > 0:
			m.see(&l)
		case err == nil:
			m.see(nil)
		}
		m.mu.Unlock()
		m.sleep(ctx, leaseLook)
	}
}

// see takes note of who else has the lead. What was carried to whoever had it before
// comes to nothing. mu is held.
func (m *Member) see(l *store.Lead) {
	o := m.other
	switch {
	case o == nil && l == nil:
		return
	case o != nil && l != nil && o.Term == l.Term:
		o.seen = time.Now()
		return
	case o != nil:
		o.end()
	}
	m.other = nil
	if l != nil {
		m.other = &other{Lead: *l, seen: time.Now()}
		m.other.ctx, m.other.end = context.WithCancel(context.Background())
		m.log.Info("another process has the lead", zap.Int64("term", l.Term), zap.String("url", l.URL))
	}
	m.changed()
}

// deciding returns the control that decides, if it is here, or who else has the lead,
// and what tells of a change.
func (m *Member) deciding() (*Control, *other, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.c != nil && m.c.leading() {
		return m.c, nil, m.change
	}
	return nil, m.other, m.change
}

// Leads reports whether this member decides at present.
func (m *Member) Leads() bool {
	c, _, _ := m.deciding()
	return c != nil
}

// Stats is a snapshot of the figures of the Control that this member is; false: it
// has not got the lead.
func (m *Member) Stats() (Stats, bool) {
	m.mu.Lock()
	c := m.c
	m.mu.Unlock()
	if c == nil {
		return Stats{}, false
	}
	return c.Stats(), true
}

// Health is what /readyz says: of the Control that this member is, or whether calls
// can be carried to another.
func (m *Member) Health(ctx context.Context) (r Health) {
	m.mu.Lock()
	c, o := m.c, m.other
	m.mu.Unlock()
	switch {
	case c != nil:
		r = c.Health(ctx)
		if !c.leading() {
			r.Refuse("lead", "it has lapsed")
		}
	case o == nil:
		r.Refuse("lead", "nobody has it")
	case time.Since(o.seen) >= leaseFor:
		r.Refuse("store", "it does not answer")
	}
	return r
}

// Close ends Run, and the Control that this member may be. It is idempotent.
func (m *Member) Close() error {
	m.mu.Lock()
	m.stop()
	m.mu.Unlock()
	m.runs.Wait()
	m.mu.Lock()
	c, o := m.c, m.other
	m.mu.Unlock()
	var errs []error
	if c != nil {
		errs = append(errs, c.Close())
	}
	if o != nil {
		o.end()
	}
	if m.db != nil {
		m.way.close()
		errs = append(errs, m.db.Close())
	}
	return errors.Join(errs...)
}

// What https.NewSender asks for: the queue of the Control that this member is. Polls
// come to it only then.

// errNoLead says that polls and commands are another's.
var errNoLead = fmt.Errorf("control: this process has not got the lead: %w", net.ErrClosed)

// DeviceKey is Control's.
func (m *Member) DeviceKey(ctx context.Context, id string) (keys.IdentityKey, error) {
	if c, _, _ := m.deciding(); c != nil {
		return c.DeviceKey(ctx, id)
	}
	return keys.IdentityKey{}, errNoLead
}

// Push is Control's.
func (m *Member) Push(ctx context.Context, id string, command []byte) error {
	if c, _, _ := m.deciding(); c != nil {
		return c.Push(ctx, id, command)
	}
	return errNoLead
}

// Pull is Control's.
func (m *Member) Pull(ctx context.Context, id string, after Mark) ([]byte, Mark, error) {
	if c, _, _ := m.deciding(); c != nil {
		return c.Pull(ctx, id, after)
	}
	return nil, Mark{}, errNoLead
}

// Notify is Control's.
func (m *Member) Notify(wake func(device string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wakes = append(m.wakes[:len(m.wakes):len(m.wakes)], wake)
	if m.db == nil {
		m.c.Notify(wake)
	}
}

func (m *Member) wake(device string) {
	m.mu.Lock()
	wakes := m.wakes
	m.mu.Unlock()
	for _, wake := range wakes {
		wake(device)
	}
}
