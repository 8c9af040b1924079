package control

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/pool"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/internal/strictjson"
	"github.com/boothwire/boothwire/keys"
)

// How nodes and control speak: over mutual TLS, in which control knows a node by
// the identity key of its certificate. The channel carries no authority: grants and
// downs are signed, and the node verifies each.
//
//	POST /node/v1/enroll  {"claim","name","key","endpoints","version"}
//	                      -> {"name","issuer","roots","proof","pool"}, once for a claim
//	GET  /node/v1/follow  -> lines of JSON: hello, then every live grant and pending
//	                      end of the node, then what changes; a ping every 10 s.
//	                      "relays" beside a grant are the node's own legs. With
//	                      ?relay=1 also every session that is over, of other nodes
//	                      too: those of the last hour, then each as it ends
//	POST /node/v1/report  {"seq","events","sessions","endpoints","operator_endpoints",
//	                      "version","beats","region","capacity"}
//	                      -> 204; sessions, in the first of a follow, is what it holds.
//	                      What else it says of itself ("stats") nobody here reads
const (
	pathEnroll = "/node/v1/enroll"
	pathFollow = "/node/v1/follow"
	pathReport = "/node/v1/report"
)

// The kinds of lines and events.
const (
	lineHello = "hello"
	lineGrant = "grant"
	lineEnd   = "end"
	linePing  = "ping"
	lineOver  = "over"

	eventInstalled = "installed"
	eventHandshake = "handshake"
	eventProved    = "proved"
	eventRefused   = "refused"
	eventClosed    = "closed"
	eventBytes     = "bytes"
)

type nodeLine struct {
	Kind    string       `json:"kind"`
	Proof   netip.Addr   `json:"proof,omitzero"`
	Pool    netip.Prefix `json:"pool,omitzero"`
	Session string       `json:"session,omitempty"`
	Token   string       `json:"token,omitempty"`
	Relays  []keys.Relay `json:"relays,omitempty"` // the node's legs: with the device, then with each operator
}

type enrolRequest struct {
	Claim     string           `json:"claim"`
	Name      string           `json:"name"`
	Key       keys.PublicKey   `json:"key"`
	Endpoints []netip.AddrPort `json:"endpoints"`
	Version   string           `json:"version"`
}

type enrolAnswer struct {
	Name   string       `json:"name"`
	Issuer string       `json:"issuer"`
	Roots  []string     `json:"roots"`
	Proof  netip.Addr   `json:"proof"`
	Pool   netip.Prefix `json:"pool"`
}

type nodeReport struct {
	Seq       uint64           `json:"seq"`
	Events    []nodeEvent      `json:"events"`
	Sessions  *[]nodeHeld      `json:"sessions"`
	Endpoints []netip.AddrPort `json:"endpoints"`
	Operators []netip.AddrPort `json:"operator_endpoints"`
	Version   string           `json:"version"`
	Beats     bool             `json:"beats"` // it reports each 5 s, whatever happens
	Region    string           `json:"region"`
	Capacity  int              `json:"capacity"`
}

type nodeEvent struct {
	Kind    string     `json:"kind"`
	Session string     `json:"session"`
	Rev     int        `json:"rev"`
	Code    string     `json:"code"`
	Rx      uint64     `json:"rx"`
	Tx      uint64     `json:"tx"`
	AtMicro int64      `json:"at_us"`
	From    netip.Addr `json:"from"`           // the device's public address
	Path    string     `json:"path,omitempty"` // how the device's packets come, in a device's words
}

type nodeHeld struct {
	Session string `json:"session"`
	Rev     int    `json:"rev"`
	Fresh   bool   `json:"fresh,omitempty"` // its tunnels began anew, and the device has not come yet
}

const (
	maxEnrol  = 16 << 10
	maxReport = 5 << 20 // of maxHeld sessions of 75 bytes and maxEvents
	maxHeld   = 60_000  // sessions of one node
	maxEvents = 512     // in a report: each is looked at under the lock
	pingEvery = 10 * time.Second
	claimFor  = time.Hour
	// A body that takes longer is held back on purpose: anybody may begin to enrol.
	bodyTimeout = 15 * time.Second
	writeLimit  = 20 * time.Second // a node that takes no line for this long is gone
	claimStart  = "bwn1."
)

// newClaim makes a claim for a node of that name; an enrolled one keeps its place
// until the claim is used.
func (c *Control) newClaim(ctx context.Context, u User, name string) (client.Claim, error) {
	if !keys.ValidID(name) {
		return client.Claim{}, fail(http.StatusUnprocessableEntity, keys.ReasonMalformed, "a node's name is 1 to 64 of letters, digits, '.', '_' and '-'")
	}
	var secret [16]byte
	rand.Read(secret[:])
	text := base64.RawURLEncoding.EncodeToString(secret[:])
	now := c.cfg.Now()
	c.mu.Lock()
	n := c.nodes[name]
	a, err := c.pool.Take(pool.Node, name, now)
	if err != nil {
		c.mu.Unlock()
		return client.Claim{}, fail(http.StatusServiceUnavailable, codeNoAddress, err.Error())
	}
	if n == nil {
		n = &node{row: store.Node{Name: name, Created: now}, sessions: make(map[string]*session), standing: newStanding()}
		c.nodes[name] = n
	}
	n.proof, n.row.Proof = a.Addr, a.Addr.String() // another than before, if that turned out to be somebody's
	n.row.ClaimHash, n.row.ClaimExpires = hashOf(text), now.Add(claimFor)
	row := n.stored()
	c.mu.Unlock()
	// What is shown must be there when it is used.
	if err := c.store.Do(ctx, func(tx *store.Tx) error {
		if err := takeAll(tx, []pool.Address{a}); err != nil {
			return err
		}
		return tx.PutNode(row)
	}); err != nil {
		if taken, ok := errors.AsType[*store.AddressTaken](err); ok {
			c.denyAddress(taken)
			err = fail(http.StatusServiceUnavailable, codeNoAddress, "the address is somebody's; the next claim tries another")
		}
		return client.Claim{}, err
	}
	c.note(store.Audit{Who: u.Name, What: auditClaim, Node: name})
	return client.Claim{Node: name, Claim: claimStart + text + "." + c.cfg.Pin, Expires: row.ClaimExpires.UTC()}, nil
}

// identityOf is the key of the certificate with which a request came, zero if it
// came without.
func identityOf(r *http.Request) keys.IdentityKey {
	if k, ok := r.Context().Value(localIdentity{}).(keys.IdentityKey); ok {
		return k
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return keys.IdentityKey{}
	}
	k, err := keys.IdentityOf(r.TLS.PeerCertificates[0])
	if err != nil {
		return keys.IdentityKey{}
	}
	return k
}

func (c *Control) serveEnrol(w http.ResponseWriter, r *http.Request) {
	identity := identityOf(r)
	if identity.IsZero() {
		c.refuseNode(w, http.StatusUnauthorized, "no_certificate", "a node shows a certificate with an Ed25519 key")
		return
	}
	var in enrolRequest
	if err := readStrict(w, r, maxEnrol, &in); err != nil {
		c.refuseNode(w, statusOf(err), codeOf(err, keys.ReasonMalformed), "not an enrolment")
		return
	}
	out, err := c.enrol(identity, &in)
	if e, ok := errors.AsType[*client.Error](err); ok {
		c.refuseNode(w, e.Status, e.Code, e.Detail)
		return
	}
	if err != nil {
		c.log.Error("enrol", zap.Error(err))
		c.refuseNode(w, http.StatusServiceUnavailable, "internal", "not written")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

// shownWord cuts what a node says of itself to what is shown: builds from a checkout have
// long versions, which are no reason to refuse a node.
func shownWord(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text[:min(len(text), 64)], ""))
}

func (c *Control) enrol(identity keys.IdentityKey, in *enrolRequest) (*enrolAnswer, error) {
	secret, ok := strings.CutPrefix(in.Claim, claimStart)
	secret, _, _ = strings.Cut(secret, ".")
	if !ok || len(secret) != 22 || in.Key.IsZero() {
		return nil, fail(http.StatusUnprocessableEntity, keys.ReasonMalformed, "not an enrolment")
	}
	hash, now := hashOf(secret), c.cfg.Now()
	c.mu.Lock()
	var n *node
	for _, o := range c.nodes {
		if o.row.ClaimHash == hash {
			n = o
		}
	}
	if n == nil {
		// The answer may have been lost: the same node may ask again, and nobody else.
		if n = c.byIdentity(identity); n != nil && n.key == in.Key && (in.Name == "" || in.Name == n.row.Name) {
			defer c.mu.Unlock()
			return c.enrolled(n), nil
		}
		c.mu.Unlock()
		return nil, fail(http.StatusForbidden, "claim_used", "the claim was used, replaced or never made")
	}
	name := n.row.Name
	switch o := c.byIdentity(identity); {
	case !now.Before(n.row.ClaimExpires):
		c.mu.Unlock()
		return nil, fail(http.StatusForbidden, "claim_expired", "the claim is too old")
	case in.Name != "" && in.Name != name:
		c.mu.Unlock()
		return nil, fail(http.StatusForbidden, "wrong_node", "the claim is for another name")
	case o != nil && o != n:
		c.mu.Unlock()
		return nil, fail(http.StatusConflict, "key_in_use", "the certificate is another node's")
	}
	row := n.row
	c.mu.Unlock()
	row.Identity, row.Key, row.Version, row.Seen = identity.String(), in.Key.String(), shownWord(in.Version), now
	row.Endpoints = nil
	for _, e := range usable(in.Endpoints) {
		row.Endpoints = append(row.Endpoints, e.String())
	}
	row.ClaimHash, row.ClaimExpires = "", time.Time{}
	if err := c.store.Do(c.ctx, func(tx *store.Tx) error {
		if err := tx.UseClaim(name, hash, now); err != nil {
			return err
		}
		return tx.PutNode(row)
	}); err != nil {
		if errors.Is(err, store.ErrTaken) {
			err = fail(http.StatusForbidden, "claim_used", "the claim was used, replaced or never made")
		}
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nodes[name] != n {
		return nil, fail(http.StatusForbidden, "claim_used", "the node was deleted")
	}
	if n.identity != identity {
		n.cut()
	}
	// What somebody else has changed meanwhile, such as a drain, stays as it is.
	if n.row.ClaimHash == hash {
		n.row.ClaimHash, n.row.ClaimExpires = "", time.Time{}
	}
	n.row.Identity, n.row.Key, n.row.Version, n.row.Seen = row.Identity, row.Key, row.Version, row.Seen
	n.identity, n.key, n.endpoints = identity, in.Key, usable(in.Endpoints)
	c.keep(n)
	c.note(store.Audit{Who: name, What: auditEnrol, Node: name, Detail: identity.String()})
	c.log.Info("node enrolled", zap.String("node", name), zap.Stringer("identity", identity))
	return c.enrolled(n), nil
}

func (c *Control) enrolled(n *node) *enrolAnswer {
	return &enrolAnswer{Name: n.row.Name, Issuer: c.cfg.Issuer, Roots: c.Roots(), Proof: n.proof, Pool: c.cfg.Pool}
}

// nodeOf returns the node that sent r; it has answered when there is none.
func (c *Control) nodeOf(w http.ResponseWriter, r *http.Request) *node {
	identity := identityOf(r)
	c.mu.Lock()
	n := c.byIdentity(identity)
	c.mu.Unlock()
	if n == nil {
		c.refuseNode(w, http.StatusForbidden, "unknown_node", "no node enrolled with this certificate")
	}
	return n
}

func (c *Control) serveFollow(w http.ResponseWriter, r *http.Request) {
	n := c.nodeOf(w, r)
	if n == nil {
		return
	}
	c.mu.Lock()
	often := !n.follows.take(c.cfg.Now(), followsRate, followsBurst)
	c.mu.Unlock()
	if often {
		c.refuseNode(w, http.StatusTooManyRequests, keys.ReasonFlood, "the node began to follow too often")
		return
	}
	l := &link{ready: make(chan struct{}, 1), gone: make(chan struct{})}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{})
	c.mu.Lock()
	if c.shut || c.byIdentity(identityOf(r)) != n {
		c.mu.Unlock()
		return
	}
	c.attach(n, l, c.cfg.Now())
	c.mu.Unlock()
	defer func() { c.detachNode(n, l, c.cfg.Now()) }()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	enc := json.NewEncoder(w)
	say := func(line nodeLine) error { // each has its time: thousands take a node long to obey
		_ = rc.SetWriteDeadline(time.Now().Add(writeLimit))
		return enc.Encode(line)
	}
	carriesRelay := r.URL.Query().Get("relay") == "1"
	var after uint64 // of the sessions that are over, what the node knows
	for {
		var over <-chan struct{} // nil: it does not want to know
		c.mu.Lock()
		if !c.leads() {
			c.mu.Unlock()
			return
		}
		lines := l.lines
		l.lines = nil
		if carriesRelay {
			for _, s := range c.revoked.since(after, c.cfg.Now()) {
				lines = append(lines, nodeLine{Kind: lineOver, Session: s.Session})
			}
			after, over = c.revoked.last, c.revoked.changed
		}
		c.mu.Unlock()
		for _, line := range lines {
			if say(line) != nil {
				return
			}
		}
		_ = rc.SetWriteDeadline(time.Now().Add(writeLimit))
		if rc.Flush() != nil {
			return
		}
		select {
		case <-l.ready:
		case <-over:
		case <-ping.C:
			if say(nodeLine{Kind: linePing}) != nil {
				return
			}
		case <-l.gone:
			return
		case <-r.Context().Done():
			return
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *Control) serveReport(w http.ResponseWriter, r *http.Request) {
	n := c.nodeOf(w, r)
	if n == nil {
		return
	}
	// One at a time, as a node sends them: each is held whole.
	wait, cancel := context.WithTimeout(r.Context(), bodyTimeout)
	defer cancel()
	select {
	case n.reporting <- struct{}{}:
		defer func() { <-n.reporting }()
	case <-wait.Done():
		c.refuseNode(w, http.StatusServiceUnavailable, keys.ReasonBusy, "another report of the node is being read")
		return
	}
	var in nodeReport
	err := readStrict(w, r, maxReport, &in)
	if err == nil && (len(in.Events) > maxEvents || in.Sessions != nil && len(*in.Sessions) > maxHeld) {
		err = errTooLarge
	}
	if err != nil {
		c.refuseNode(w, statusOf(err), codeOf(err, keys.ReasonMalformed), "not a report")
		return
	}
	var unknown []string
	c.mu.Lock()
	if c.nodes[n.row.Name] == n && n.identity == identityOf(r) {
		unknown = c.told(n, &in, c.cfg.Now())
	}
	c.mu.Unlock()
	c.endUnknown(n, unknown)
	w.WriteHeader(http.StatusNoContent)
}

// errTooLarge is what readStrict returns for a body beyond its limit.
var errTooLarge = &client.Error{Status: http.StatusRequestEntityTooLarge, Code: keys.ReasonOversized}

// readStrict reads a body of at most limit bytes into v.
func readStrict(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	if r.ContentLength > limit {
		return errTooLarge
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return errTooLarge
		}
		return err
	}
	return strictjson.Unmarshal(body, v)
}

func statusOf(err error) int {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Status
	}
	return http.StatusBadRequest
}

func (c *Control) refuseNode(w http.ResponseWriter, status int, code, detail string) {
	if c.audit.count(c.store, c.cfg.Now(), store.Audit{Who: whoControl, What: auditNode, Code: code}, 1) {
		c.log.Warn("node refused", zap.String("code", code))
	}
	problem(w, status, code, detail)
}

// problem answers with a problem document (RFC 9457).
func problem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(client.Error{Status: status, Code: code, Title: http.StatusText(status), Detail: detail})
}
