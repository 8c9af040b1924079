package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/boothwire/boothwire/gateway/control"
)

// OIDC is an OpenID Connect provider, asked by the authorization code flow with PKCE,
// state and nonce.
type OIDC struct {
	Issuer   string // "https://id.example.com/realms/mall"
	ClientID string
	Secret   string // empty: a public client
	// Redirect is the console's own address of the callback,
	// "https://control.example.com/console/oidc/callback".
	Redirect string
	Scopes   []string // beside openid and profile
	Name     string   // claim that names the user; default "preferred_username"
	Groups   string   // claim that lists his groups; default "groups"
	Rules    []Rule   // at least one
	// Recheck is how often the provider is asked again about whoever is signed in, where
	// it gives refresh tokens; default 5 min. MaxAge is how long a login lasts since the
	// provider last vouched for its user; default 8 h.
	Recheck, MaxAge time.Duration
	// HTTP asks the provider; default: a client with a timeout of 15 s.
	HTTP *http.Client
}

// Rule gives members of a group a role for devices of some groups. Of several that
// apply to a user the highest role counts, with the device groups of the rules that
// give it.
type Rule struct {
	Group   string // at the provider
	Role    control.Role
	Devices []string // groups of devices; none: all
}

// Check refuses what cannot work; its error begins with the field's name.
func (o *OIDC) Check() error {
	issuer, err := url.Parse(o.Issuer)
	if err != nil || issuer.Host == "" || issuer.Scheme != "https" && !loopback(issuer) {
		return &BadField{"issuer", fmt.Errorf("%q is no URL such as https://id.example.com", o.Issuer)}
	}
	if o.ClientID == "" {
		return &BadField{"client_id", errors.New("required")}
	}
	back, err := url.Parse(o.Redirect)
	if err != nil || back.Host == "" || back.Scheme != "https" && !loopback(back) || back.Path != CallbackPath {
		return &BadField{"redirect", fmt.Errorf("%q is no URL such as https://control.example.com%s", o.Redirect, CallbackPath)}
	}
	if len(o.Rules) == 0 {
		return &BadField{"rule", errors.New("without one nobody may do anything")}
	}
	for i, r := range o.Rules {
		if r.Group == "" {
			return &BadField{fmt.Sprintf("rule[%d].group", i), errors.New("required")}
		}
		if rank(r.Role) < 0 {
			return &BadField{fmt.Sprintf("rule[%d].role", i), fmt.Errorf("%q is none of viewer, operator, approver, admin", r.Role)}
		}
	}
	return nil
}

// loopback reports whether a URL is of this machine, where plain HTTP is nobody's to hear.
func loopback(u *url.URL) bool {
	return u.Scheme == "http" && slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
}

// A BadField is a field of a configuration that does not fit.
type BadField struct {
	Field string
	Err   error
}

func (e *BadField) Error() string { return "console: " + e.Field + ": " + e.Err.Error() }
func (e *BadField) Unwrap() error { return e.Err }

// CallbackPath is where a provider sends browsers back to.
const CallbackPath = "/console/oidc/callback"

func rank(r control.Role) int {
	return slices.Index([]control.Role{control.Viewer, control.Operator, control.Approver, control.Admin}, r)
}

// Includes reports whether the role r includes what the role low may do.
func Includes(r, low control.Role) bool { return rank(r) >= rank(low) && rank(low) >= 0 }

// Refusals of a provider's user.
var (
	ErrUnsolicited = errors.New("this sign-in did not begin in this browser, or too long ago")
	ErrNoRole      = errors.New("no rule gives this user a role")
	ErrNoName      = errors.New("the provider does not name this user")
	ErrTaken       = errors.New("the user's name is another's here")
	ErrGone        = errors.New("the provider gives no more tokens for this user")
)

// A Refusal is what the provider said instead of a code.
type Refusal struct{ Code string }

func (e *Refusal) Error() string { return "the provider says " + e.Code }

// Pending is a sign-in that began in a browser: what its cookie holds.
type Pending struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"`
	Next     string    `json:"p"` // page to go to
	Until    time.Time `json:"t"`
}

const (
	patience   = 10 * time.Minute // of a user at the provider
	askTimeout = 15 * time.Second
	maxName    = 100

	defaultRecheck = 5 * time.Minute
	defaultMaxAge  = 8 * time.Hour
)

// A Provider signs users in whom an OpenID provider knows. It is safe for concurrent
// use.
type Provider struct {
	cfg   OIDC
	taken []string // names that no user of the provider has here

	asks chan struct{}  // one; whoever has it may look at oidc
	oidc *oidc.Provider // nil: not asked yet
}

// NewProvider returns the provider of o, nil for nil; it is asked at the first sign-in.
// Nobody whom it knows signs in by a name that is taken, in whatever case.
func NewProvider(o *OIDC, taken ...string) (*Provider, error) {
	if o == nil {
		return nil, nil
	}
	p := &Provider{cfg: *o, taken: taken, asks: make(chan struct{}, 1)}
	if p.cfg.Name == "" {
		p.cfg.Name = "preferred_username"
	}
	if p.cfg.Groups == "" {
		p.cfg.Groups = "groups"
	}
	if p.cfg.Recheck <= 0 {
		p.cfg.Recheck = defaultRecheck
	}
	if p.cfg.MaxAge <= 0 {
		p.cfg.MaxAge = defaultMaxAge
	}
	if p.cfg.HTTP == nil {
		p.cfg.HTTP = &http.Client{Timeout: askTimeout}
	}
	return p, o.Check()
}

// discover asks the provider for its addresses and keys, once. Whoever waits for another
// who asks does so as long as he is there: it may be strangers that come.
func (p *Provider) discover(ctx context.Context) (*oidc.Provider, error) {
	select {
	case p.asks <- struct{}{}:
		defer func() { <-p.asks }()
	case <-ctx.Done():
		return nil, fmt.Errorf("console: the OpenID provider: %w", ctx.Err())
	}
	if p.oidc != nil {
		return p.oidc, nil
	}
	found, err := oidc.NewProvider(p.context(ctx), p.cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("console: the OpenID provider: %w", err)
	}
	p.oidc = found
	return found, nil
}

func (p *Provider) context(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, p.cfg.HTTP)
}

// flow is how found is spoken to, with the secret in the way that it names. With a guess,
// and the other way after a refusal, nobody could tell what the refusal was for.
func (p *Provider) flow(found *oidc.Provider) *oauth2.Config {
	var says struct {
		Ways []string `json:"token_endpoint_auth_methods_supported"`
	}
	at := found.Endpoint()
	if found.Claims(&says) == nil {
		switch {
		case slices.Contains(says.Ways, "client_secret_post") || p.cfg.Secret == "":
			at.AuthStyle = oauth2.AuthStyleInParams
		case slices.Contains(says.Ways, "client_secret_basic") || len(says.Ways) == 0: // the default
			at.AuthStyle = oauth2.AuthStyleInHeader
		}
	}
	return &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.cfg.Secret, RedirectURL: p.cfg.Redirect, Endpoint: at,
		Scopes: append([]string{oidc.ScopeOpenID, "profile"}, p.cfg.Scopes...),
	}
}

// Start begins a sign-in: where the browser goes, and what it has to keep.
func (p *Provider) Start(ctx context.Context, next string) (string, Pending, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return "", Pending{}, err
	}
	d := Pending{State: random(), Nonce: random(), Verifier: oauth2.GenerateVerifier(), Next: next, Until: time.Now().Add(patience)}
	return p.flow(found).AuthCodeURL(d.State, oidc.Nonce(d.Nonce), oauth2.S256ChallengeOption(d.Verifier)), d, nil
}

// hideSecrets leaves of what a token endpoint answered only its own word for it.
func hideSecrets(err error) error {
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return fmt.Errorf("%s %q", e.Response.Status, e.ErrorCode)
	}
	return err
}

// granted applies rules to groups. Whoever may do less in more groups does not get to
// do more there: lower roles are left out.
func granted(rules []Rule, groups []string) (u control.User, ok bool) {
	all := false
	for _, r := range rules {
		if !slices.Contains(groups, r.Group) || rank(r.Role) < rank(u.Role) {
			continue
		}
		if r.Role != u.Role {
			u, all, ok = control.User{Role: r.Role}, false, true
		}
		all = all || len(r.Devices) == 0
		u.Groups = append(u.Groups, r.Devices...)
	}
	if all {
		u.Groups = nil
	}
	slices.Sort(u.Groups)
	u.Groups = slices.Compact(u.Groups)
	return u, ok
}
