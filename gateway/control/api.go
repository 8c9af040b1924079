package control

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/api"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
)

// routes is everything that ServeHTTP serves.
func (c *Control) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", api.Handler(backend{c}))
	mux.HandleFunc("POST "+pathEnroll, c.serveEnrol)
	mux.HandleFunc("GET "+pathFollow, c.serveFollow)
	mux.HandleFunc("POST "+pathReport, c.serveReport)
	return mux
}

// backend is what the API calls.
type backend struct{ c *Control }

var _ api.Backend = backend{}

// tokenStart marks our tokens, so that scanners for leaked secrets find them.
const tokenStart = "bwt_"

// Authenticate implements api.Backend.
func (b backend) Authenticate(r *http.Request) (auth.User, error) {
	if u, ok := r.Context().Value(localUser{}).(User); ok {
		return u, nil
	}
	refuse := fail(http.StatusUnauthorized, "unauthenticated", "a bearer token is needed")
	head := r.Header.Get("Authorization")
	if head == "" {
		if b.c.cfg.User == nil {
			return auth.User{}, refuse
		}
		return b.c.cfg.User(r)
	}
	scheme, secret, _ := strings.Cut(head, " ")
	if !strings.EqualFold(scheme, "Bearer") || !strings.HasPrefix(secret, tokenStart) {
		return auth.User{}, refuse
	}
	hash := hashOf(secret)
	b.c.mu.Lock()
	k, ok := b.c.tokens[hash]
	b.c.mu.Unlock()
	if !ok || !k.Expires.IsZero() && !b.c.cfg.Now().Before(k.Expires) {
		return auth.User{}, refuse
	}
	return auth.User{Name: k.User, Role: auth.Role(k.Role), Groups: k.Groups}, nil
}

func (b backend) may(u auth.User, a auth.Action) error {
	return b.c.policy().Authorise(u, auth.Request{Action: a})
}

// Nodes implements api.Backend.
func (b backend) Nodes(_ context.Context, u auth.User, q api.Query) ([]client.Node, string, error) {
	if err := b.may(u, auth.View); err != nil {
		return nil, "", err
	}
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	var list []client.Node
	for _, n := range b.c.nodes {
		v := n.show()
		v.Leaving = b.c.leaving(n)
		list = append(list, v)
	}
	slices.SortFunc(list, func(x, y client.Node) int { return strings.Compare(x.Name, y.Name) })
	list, next := cut(list, q, func(n client.Node) string { return n.Name })
	return list, next, nil
}

// cut returns the page of a sorted list that q names.
func cut[T any](list []T, q api.Query, id func(T) string) ([]T, string) {
	i := 0
	if q.After != "" {
		i, _ = slices.BinarySearchFunc(list, q.After, func(v T, after string) int {
			if id(v) <= after {
				return -1
			}
			return 1
		})
	}
	list = list[i:]
	if len(list) <= q.Limit || q.Limit <= 0 {
		return list, ""
	}
	return list[:q.Limit], id(list[q.Limit-1])
}

// ClaimNode implements api.Backend.
func (b backend) ClaimNode(ctx context.Context, u auth.User, name string) (client.Claim, error) {
	if err := b.may(u, auth.Manage); err != nil {
		return client.Claim{}, err
	}
	return b.c.newClaim(ctx, u, name)
}

// DeleteNode implements api.Backend.
func (b backend) DeleteNode(ctx context.Context, u auth.User, name string) error {
	if err := b.may(u, auth.Manage); err != nil {
		return err
	}
	c := b.c
	c.mu.Lock()
	n := c.nodes[name]
	if n == nil {
		c.mu.Unlock()
		return fail(http.StatusNotFound, "unknown_node", "no such node")
	}
	now := c.cfg.Now()
	for _, s := range sorted(n.sessions) {
		s.m.Close(now, "node_deleted", "")
		c.act(s, now)
		s.m.NodeClosed(now, "") // nobody is left to say so
		s.node = nil
		c.act(s, now)
	}
	delete(c.nodes, name)
	n.cut()
	c.mu.Unlock()
	c.note(store.Audit{Who: u.Name, What: auditNode, Node: name, Code: "deleted"})
	// The writes behind come first, or they would bring it back.
	if err := c.store.Flush(ctx); err != nil {
		return err
	}
	return c.store.Do(ctx, func(tx *store.Tx) error { return tx.DeleteNode(name) })
}

// Fault implements api.Backend.
func (b backend) Fault(err error) { b.c.log.Error("a request failed", zap.Error(err)) }

// Audit implements api.Backend.
func (b backend) Audit(ctx context.Context, u auth.User, q api.AuditQuery) ([]client.Audit, string, error) {
	if err := b.may(u, auth.Audit); err != nil {
		return nil, "", err
	}
	b.c.audit.flush(b.c.store, b.c.cfg.Now())
	if err := b.c.store.Flush(ctx); err != nil {
		return nil, "", err
	}
	before, _ := strconv.ParseInt(q.After, 10, 64)
	rows, after, err := b.c.store.Audits(ctx, store.AuditFilter{
		Device: q.Device, Session: q.Session, Who: q.Who, What: q.What, Since: q.Since, Until: q.Until, Text: q.Text,
		Before: before, Limit: q.Limit,
	})
	var list []client.Audit
	for _, r := range rows {
		list = append(list, client.Audit(r))
	}
	next := ""
	if after > 0 {
		next = itoa(after)
	}
	return list, next, err
}

// Trust implements api.Backend.
func (b backend) Trust(_ context.Context, u auth.User) (client.Trust, error) {
	return client.Trust{Issuer: b.c.cfg.Issuer, Roots: b.c.Roots()}, b.may(u, auth.View)
}

// Tokens implements api.Backend.
func (b backend) Tokens(_ context.Context, u auth.User, q api.Query) ([]client.Token, string, error) {
	if err := b.may(u, auth.Manage); err != nil {
		return nil, "", err
	}
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	var list []client.Token
	for _, k := range b.c.tokens {
		list = append(list, showToken(k))
	}
	slices.SortFunc(list, func(x, y client.Token) int { return strings.Compare(x.ID, y.ID) })
	list, next := cut(list, q, func(k client.Token) string { return k.ID })
	return list, next, nil
}

func showToken(k store.Token) client.Token {
	return client.Token{ID: k.ID, User: k.User, Role: k.Role, Groups: k.Groups, Created: k.Created, Expires: k.Expires}
}

// CreateToken implements api.Backend.
func (b backend) CreateToken(ctx context.Context, u auth.User, r client.TokenRequest) (client.Token, error) {
	if err := b.may(u, auth.Manage); err != nil {
		return client.Token{}, err
	}
	return b.c.createToken(ctx, u.Name, User{Name: r.User, Role: Role(r.Role), Groups: r.Groups}, r.Lifetime.Duration())
}

func (c *Control) createToken(ctx context.Context, by string, u User, lifetime time.Duration) (client.Token, error) {
	if u.Name == "" || !u.Role.Valid() || lifetime < 0 {
		return client.Token{}, fail(http.StatusUnprocessableEntity, keys.ReasonMalformed, "a token needs a user and a role")
	}
	var b [24]byte
	rand.Read(b[:])
	secret := tokenStart + base64.RawURLEncoding.EncodeToString(b[:])
	k := store.Token{ID: keys.NewID(), Hash: hashOf(secret), User: u.Name, Role: string(u.Role), Groups: slices.Clone(u.Groups), Created: c.cfg.Now()}
	if lifetime > 0 {
		k.Expires = k.Created.Add(lifetime)
	}
	if err := c.store.Do(ctx, func(tx *store.Tx) error { return tx.AddToken(k) }); err != nil {
		return client.Token{}, err
	}
	c.mu.Lock()
	c.tokens[k.Hash] = k
	c.mu.Unlock()
	c.note(store.Audit{Who: by, What: auditToken, Code: "created", Detail: u.Name + " " + string(u.Role)})
	v := showToken(k)
	v.Secret = secret
	return v, nil
}

// NewToken makes a bearer token for u, the first one of a deployment for one; 0 is
// a lifetime without end. Only its SHA-256 is kept.
func (c *Control) NewToken(ctx context.Context, u User, lifetime time.Duration) (string, error) {
	k, err := c.createToken(ctx, whoControl, u, lifetime)
	return k.Secret, err
}

// DeleteToken implements api.Backend.
func (b backend) DeleteToken(ctx context.Context, u auth.User, id string) error {
	if err := b.may(u, auth.Manage); err != nil {
		return err
	}
	c := b.c
	err := c.store.Do(ctx, func(tx *store.Tx) error { return tx.DeleteToken(id) })
	if errors.Is(err, store.ErrAbsent) {
		return fail(http.StatusNotFound, "not_found", "no such token")
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for h, k := range c.tokens {
		if k.ID == id {
			delete(c.tokens, h)
		}
	}
	c.note(store.Audit{Who: u.Name, What: auditToken, Code: "deleted", Detail: id})
	return nil
}
