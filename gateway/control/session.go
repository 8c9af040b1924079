package control

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/machine"
	"github.com/boothwire/boothwire/gateway/control/internal/pool"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// session is one session about which something is left to be done. Control.mu
// guards it, but for issuing.
type session struct {
	id   string
	dev  *device
	node *node // nil: its node was deleted
	name string
	m    *machine.Machine

	opened, closed time.Time
	lifetime       time.Duration // from opened, as of the latest revision or renewal
	reason, ticket string
	user           User
	bare           bool
	endToEnd       bool          // the operator's tool is the far end; node is nil
	longest        time.Duration // from opened: how far an end-to-end session may be renewed
	boot           string
	prekey         keys.PublicKey
	address        netip.Addr
	operators      []operator
	ladder         []client.Step
	path           string
	pathWhy        string // the device's words about it
	rtt            time.Duration
	rx, tx         uint64              // from the device and to it
	counted        map[string]counters // by each node, as it said last
	spent          PathTimes           // as the device says
	samples        samples             // likewise

	grant     []byte
	legs      []keys.Relay   // the node's, as of the latest revision
	down      []byte         // signed, once needed
	nonce     string         // of the ask under way
	re        string         // of the request that the latest revision answers
	fresh     keys.PublicKey // from an answer or a request, for the next revision
	freshBoot string
	rekeys    int // fresh keys that the device asked for
	wakes     int // commands sent for the latest revision under different ids
	offers    offers
	renewal   renewal
	notes     []store.Audit // of its beginning and end, since this process has it

	batch   bool      // one of many
	named   bool      // its node was asked for, and no other is as good at the opening
	waits   *gate     // where its device waits for its turn; nil: it does not
	goes    *gate     // through which it was woken, until it has shaken hands; nil: it has
	since   int       // the revision with which node became its node
	carrier *node     // at which the device was proved last; nil: at none, or not known
	guess   int       // the revision by which carrier is taken for it; 0: it is known
	cut     int       // the latest revision that took somebody out
	former  []*node   // that hold an earlier revision
	nodes   []string  // that revisions name; "": one of which it is not known
	moveAt  time.Time // no other node is looked for before
	placing bool      // a revision with another node is being made
	revives allowance // of telling its device that its node has begun again

	timer   *time.Timer
	version uint64
	changed chan struct{} // closed at each change

	issuing sync.Mutex // one revision at a time
}

// operator is one person in a session; removed ones stay for the record.
type operator struct {
	id, user string
	key      keys.PublicKey
	address  netip.Addr
	ports    []keys.Port
	added    time.Time
	removed  time.Time
}

// maxOperators bounds who is in one session: a grant with eight fits a command.
const maxOperators = 8

// maxSteps bounds a ladder, whatever a device makes up.
const maxSteps = 64

func (s *session) wakeID() string { return s.id + "." + itoa(s.m.Rev) + "." + itoa(s.wakes) }
func (s *session) askID() string  { return s.id + ".ask" }
func (s *session) downID() string { return s.id + ".down" }

// concerns reports whether a device speaks of this session.
func (s *session) concerns(st *signaling.Status) bool {
	return st.Session == s.id || st.Session == "" && s.isReply(st.Re)
}

func (s *session) isReply(re string) bool {
	return re != "" && (re == s.askID() || strings.HasPrefix(re, s.id+"."+itoa(s.m.Rev)+"."))
}

// heard takes over what a device says about how the session is.
func (s *session) heard(st *signaling.Status, now time.Time) {
	for _, p := range st.Ladder {
		s.step(client.Step{Stage: p.Stage, After: client.Micros(p.After.Microseconds()), Code: p.Code, By: client.ByDevice})
	}
	// A refusal says nothing of the tunnel.
	if st.Count == 0 && (st.VPN == signaling.Connected || st.VPN == signaling.Degraded) {
		s.path, s.rtt = st.Path, st.RTT
		if st.Path != "" {
			s.samples = s.samples.add(client.Sample{
				After: client.Seconds(now.Sub(s.opened) / time.Second), Path: st.Path,
				RTT: client.Micros(st.RTT.Microseconds()), Degraded: st.VPN == signaling.Degraded,
			})
		}
	}
	if st.Count == 0 && st.VPN == signaling.Connected && st.Path != "" {
		s.pathWhy = st.Why // of a path that is in doubt it says other things
	}
}

// step adds a step that is not there yet.
func (s *session) step(p client.Step) {
	if len(s.ladder) >= maxSteps || slices.ContainsFunc(s.ladder, func(o client.Step) bool {
		return o.Stage == p.Stage && o.By == p.By && o.Code == p.Code
	}) {
		return
	}
	s.ladder = append(s.ladder, p)
}

// climbed reports whether the ladder has a step.
func (s *session) climbed(stage signaling.Stage, by string) bool {
	return slices.ContainsFunc(s.ladder, func(p client.Step) bool { return p.Stage == stage && p.By == by })
}

// own adds a step of control or a node.
func (s *session) own(by string, stage signaling.Stage, now time.Time) {
	s.step(client.Step{Stage: stage, After: client.Micros(now.Sub(s.opened).Microseconds()), By: by})
}

// The steps that control and nodes report beside the device's.
const (
	stageAsked     signaling.Stage = "asked"     // control asked for a one-time key
	stageGranted   signaling.Stage = "granted"   // control signed
	stageInstalled signaling.Stage = "installed" // the node is ready for the device
	stageWoken     signaling.Stage = "woken"     // control sent the command
)

func (s *session) present() []operator {
	var list []operator
	for _, o := range s.operators {
		if o.removed.IsZero() {
			list = append(list, o)
		}
	}
	return list
}

// show is the session as the API has it.
func (s *session) show() client.Session {
	v := client.Session{
		ID: s.id, Rev: s.m.Rev, Device: s.dev.row.ID, Node: s.name, State: client.SessionState(s.m.State),
		Ladder: slices.Clone(s.ladder), Code: s.m.Code, Why: s.m.Why, Path: s.path, PathWhy: s.pathWhy, Paths: s.spent.shown(), EndToEnd: s.endToEnd, RTT: client.Micros(s.rtt.Microseconds()),
		Address: s.address, Operators: []client.Operator{}, User: s.user.Name, Reason: s.reason, Ticket: s.ticket, Bare: s.bare, Samples: slices.Clone(s.samples), Moving: s.m.Moving(), Waiting: s.waiting(),
		Opened: s.opened.UTC(), Ends: s.m.Ends.UTC(), Rx: s.rx, Tx: s.tx,
	}
	if v.Ladder == nil {
		v.Ladder = []client.Step{}
	}
	if n := len(v.Ladder); n > 0 {
		v.Stage = string(v.Ladder[n-1].Stage)
	}
	if !s.closed.IsZero() {
		v.Closed = s.closed.UTC()
	}
	for _, o := range s.present() {
		v.Operators = append(v.Operators, client.Operator{ID: o.id, User: o.user, Key: o.key, Address: o.address, Ports: o.ports})
	}
	return v
}

// row is the session as the store has it.
func (s *session) row() store.Session {
	r := store.Session{
		ID: s.id, Device: s.dev.row.ID, Node: s.name, State: string(s.m.State), Clean: s.m.Over(),
		Rev: s.m.Rev, Installed: s.m.Installed, Acked: s.m.Acked, Ready: s.m.Ready, Proved: s.m.Proved,
		Code: s.m.Code, Why: s.m.Why, Path: s.path, RTT: s.rtt, Boot: s.boot, Nonce: s.nonce, Bare: s.bare, EndToEnd: s.endToEnd, Longest: s.longest,
		Reason: s.reason, Ticket: s.ticket, User: s.user.Name, Role: string(s.user.Role),
		Lifetime: s.lifetime, Opened: s.opened, Ends: s.m.Ends, Closed: s.closed, Rx: s.rx, Tx: s.tx,
		PathWhy: s.pathWhy, Direct: s.spent.Direct, Relay: s.spent.Relay, Samples: s.samples.rows(),
	}
	if !s.m.Over() {
		r.Prekey = s.prekey.String()
	}
	if s.address.IsValid() {
		r.Address = s.address.String()
	}
	if n := len(s.ladder); n > 0 {
		r.Stage = string(s.ladder[n-1].Stage)
	}
	for _, o := range s.operators {
		r.Operators = append(r.Operators, o.row())
	}
	for _, p := range s.ladder {
		r.Steps = append(r.Steps, store.Step{Stage: string(p.Stage), Code: p.Code, By: p.By, After: p.After.Duration()})
	}
	return r
}

func (o operator) row() store.Operator {
	r := store.Operator{ID: o.id, User: o.user, Key: o.key.String(), Address: o.address.String(), Added: o.added, Removed: o.removed}
	for _, p := range o.ports {
		r.Ports = append(r.Ports, p.String())
	}
	return r
}

// showRow is a session that is over, as the API has it.
func showRow(r store.Session) client.Session {
	v := client.Session{
		ID: r.ID, Rev: r.Rev, Device: r.Device, Node: r.Node, State: client.SessionState(r.State), Stage: r.Stage,
		Ladder: []client.Step{}, Code: r.Code, Why: r.Why, Path: r.Path, EndToEnd: r.EndToEnd, RTT: client.Micros(r.RTT.Microseconds()),
		Operators: []client.Operator{}, User: r.User, Samples: readSamples(r.Samples), Reason: r.Reason, Ticket: r.Ticket, Bare: r.Bare,
		Opened: r.Opened, Ends: r.Ends, Closed: r.Closed, Rx: r.Rx, Tx: r.Tx,
		PathWhy: r.PathWhy, Paths: PathTimes{r.Direct, r.Relay}.shown(),
	}
	v.Address, _ = netip.ParseAddr(r.Address)
	for _, p := range r.Steps {
		v.Ladder = append(v.Ladder, client.Step{Stage: signaling.Stage(p.Stage), After: client.Micros(p.After.Microseconds()), Code: p.Code, By: p.By})
	}
	for _, o := range r.Operators {
		if o.Removed.IsZero() {
			v.Operators = append(v.Operators, readOperator(o).show())
		}
	}
	return v
}

func (o operator) show() client.Operator {
	return client.Operator{ID: o.id, User: o.user, Key: o.key, Address: o.address, Ports: o.ports}
}

func readOperator(r store.Operator) operator {
	o := operator{id: r.ID, user: r.User, added: r.Added, removed: r.Removed, ports: []keys.Port{}}
	o.key, _ = keys.ParsePublicKey(r.Key)
	o.address, _ = netip.ParseAddr(r.Address)
	for _, p := range r.Ports {
		if port, err := keys.ParsePort(p); err == nil {
			o.ports = append(o.ports, port)
		}
	}
	return o
}

// act does what the machine of s wants, writes it down and tells who watches; mu is
// held, and nothing here waits.
func (c *Control) act(s *session, now time.Time) {
	for list := s.m.Take(); len(list) > 0; list = s.m.Take() {
		c.do(s, list, now)
	}
	if s.m.Proved {
		s.carrier, s.guess = s.node, 0
	}
	if s.m.Proved || s.m.Ended() {
		c.arrive(s, now)
	}
	if s.m.State == machine.Connected && !s.climbed(signaling.Ready, client.ByControl) {
		s.own(client.ByControl, signaling.Ready, now)
		c.figures.ready(s, now)
		c.failedLast(s, "")
	}
	if s.m.Ended() {
		c.detach(s)
		if s.closed.IsZero() {
			s.closed = now
			c.ended(s)
		}
	}
	if s.m.Over() {
		c.forget(s, now)
	}
	s.tell()
	c.feed.touch(s.dev.row.ID)
	r := s.record()
	if s.m.Over() {
		s.dev.former = &former{r, now}
	}
	c.store.Later("session/"+s.id, r.put)
	c.rearm(s, now)
}

// tell has those who watch s look again.
func (s *session) tell() {
	s.version++
	close(s.changed)
	s.changed = make(chan struct{})
}

// do does what the machine of s wants; mu is held.
func (c *Control) do(s *session, list []machine.Action, now time.Time) {
	for _, a := range list {
		switch a {
		case machine.Ask:
			c.ask(s, now)
		case machine.Issue:
			if c.begin() {
				go func() {
					defer c.work.Done()
					c.reissue(s)
				}()
			}
		case machine.Install:
			s.wakes = 0
			c.install(s)
		case machine.Admit:
			c.admit(s, now)
		case machine.Wake:
			c.wake(s, now)
		case machine.Place:
			c.replace(s, now)
		case machine.Moved:
			c.moved(s, now)
		case machine.Down:
			c.sendDown(s)
		case machine.End:
			c.endAtNode(s)
		}
	}
}

// rearm sets the timer of s to what is due next.
func (c *Control) rearm(s *session, now time.Time) {
	at := s.m.Next()
	if at.IsZero() || c.shut {
		s.timer.Stop()
		return
	}
	s.timer.Reset(max(at.Sub(now), time.Millisecond))
}

// tick is what the timer of s calls.
func (c *Control) tick(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut || c.sessions[s.id] != s || !c.leads() {
		return
	}
	now := c.cfg.Now()
	s.m.Tick(now)
	c.act(s, now)
}

// track makes s known; mu is held.
func (c *Control) track(s *session) {
	s.changed = make(chan struct{})
	s.offers.init(c.cfg.Now())
	s.version = uint64(c.cfg.Now().UnixMicro()) // higher than what a watcher saw before a restart
	s.timer = time.AfterFunc(time.Hour, func() { c.tick(s) })
	s.timer.Stop()
	c.sessions[s.id] = s
	if s.node != nil {
		s.node.take(s)
	}
}

// detach lets the device have another session while s closes.
func (c *Control) detach(s *session) {
	d := s.dev
	if d.session == s {
		d.session = nil
		d.closing = append(d.closing, s)
	}
}

// ended says that s is over for its operators.
func (c *Control) ended(s *session) {
	if s.node != nil {
		delete(s.node.live, s.id)
	}
	c.leave(s)
	row := store.Audit{What: auditEnded, Device: s.dev.row.ID, Session: s.id, Node: s.name, Code: s.m.Code, Detail: s.m.Why, Rx: s.rx, Tx: s.tx}
	if s.m.State == machine.Failed {
		c.counts.failed.Add(1)
		c.failedLast(s, s.m.Code)
	}
	c.figures.ended(s, s.closed)
	c.noteOf(s, row)
	c.revoked.add(s.id, s.closed)
}

// failedLast notes what came of the latest session of a device; no code: it became
// ready.
func (c *Control) failedLast(s *session, code string) {
	if d := s.dev; d.row.LastFailed != code && c.devices[d.row.ID] == d {
		d.row.LastFailed = code
		c.save(d)
	}
}

// forget drops s, about which nothing is left to be done.
func (c *Control) forget(s *session, now time.Time) {
	s.timer.Stop()
	if sum := s.summary(); sum != "" {
		c.noteOf(s, store.Audit{Who: s.dev.row.ID, What: auditCarried, Device: s.dev.row.ID, Session: s.id, Node: s.name, Detail: sum, Rx: s.rx, Tx: s.tx})
	}
	delete(c.sessions, s.id)
	if s.node != nil {
		s.node.drop(s)
	}
	s.dev.closing = slices.DeleteFunc(s.dev.closing, func(o *session) bool { return o == s })
	s.prekey, s.fresh, s.grant = keys.PublicKey{}, keys.PublicKey{}, nil
	var rest []pool.Address
	for _, o := range s.operators {
		if a, ok := c.pool.Release(pool.Operator, o.id, now); ok && o.removed.IsZero() {
			rest = append(rest, a)
		}
	}
	if s.dev.session == nil && len(s.dev.closing) == 0 {
		if a, ok := c.pool.Release(pool.Device, s.dev.row.ID, now); ok {
			rest = append(rest, a)
		}
	}
	if len(rest) > 0 {
		c.store.Later("addresses/"+s.id, func(tx *store.Tx) error { return takeAll(tx, rest) })
	}
}

func takeAll(tx *store.Tx, list []pool.Address) error {
	for _, a := range list {
		row := store.Address{Address: a.Addr.String(), Kind: string(a.Kind), Holder: a.Holder, Used: a.Used}
		if err := tx.TakeAddress(row, a.Used.Add(-pool.Rest(a.Kind))); err != nil {
			return err
		}
	}
	return nil
}

// byAge orders sessions, the latest first.
func byAge(a, b client.Session) int {
	return cmp.Or(b.Opened.Compare(a.Opened), strings.Compare(b.ID, a.ID))
}
