package console

import (
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console/internal/desktop"
	"github.com/boothwire/boothwire/gateway/control/console/internal/firstuse"
	"github.com/boothwire/boothwire/gateway/control/console/internal/held"
	"github.com/boothwire/boothwire/gateway/control/console/internal/login"
	"github.com/boothwire/boothwire/gateway/control/console/internal/sshconn"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// Control is the API inside this process; *control.Control and *control.Member are.
type Control interface {
	// As calls as u, whom the console has signed in.
	As(u control.User) http.RoundTripper
	// Logins keeps who is signed in; nil while this process does not decide.
	Logins() *control.Logins
}

// Config of a Console. Without Local and OIDC nobody can sign in.
type Config struct {
	// Local is an account of this console's own; nil: none.
	Local *Local
	// OIDC is who else knows users; nil: nobody.
	OIDC *OIDC
	// Idle is how long a login lasts without its user; default 1 h. Longest is how long
	// it lasts in any case; default 12 h.
	Idle, Longest time.Duration
	// Policy is how sessions are opened and held.
	Policy Policy
	// SSH is how Terminal and Files reach devices.
	SSH SSH
	// Operator is how they are opened beyond that: relays, sockets, roots.
	Operator operator.Config
	// Desktop is how desktops come into a browser.
	Desktop Desktop
	// Logger; nil is silent.
	Logger *zap.Logger
}

// Local is an administrator of the console's own.
type Local = login.Local

// HashPassword is what Local keeps of a password.
func HashPassword(password string) (string, error) { return login.Hash(password) }

// CheckHash refuses what is no such hash.
func CheckHash(hash string) error { return login.CheckHash(hash) }

// A BadField is a field of an OIDC that does not fit.
type BadField = login.BadField

// OIDC is an OpenID provider whose users may sign in.
type OIDC = login.OIDC

// Rule gives the members of a group at the provider a role.
type Rule = login.Rule

// Console is the handler of everything below /console/. It is safe for concurrent use.
type Console struct {
	control  Control
	cfg      Config
	log      *zap.Logger
	logins   *login.Logins
	held     *held.Sessions
	desktops *desktop.Server
	ssh      *sshconn.Conns
	local    *login.Door
	oidc     *login.Provider
	sealer   *login.Sealer
	texts    texts
	assets   assets
	pages    pages
	handler  http.Handler
}

// New returns the console of a control. It reaches nobody: an OpenID provider that is
// away keeps only its users out.
func New(c Control, cfg *Config) (*Console, error) {
	if c == nil || cfg == nil || cfg.Local == nil && cfg.OIDC == nil {
		return nil, errors.New("console: a control, and somebody who may sign in, are required")
	}
	s := &Console{control: c, cfg: *cfg, log: cfg.Logger}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	var err error
	if s.local, err = login.NewDoor(cfg.Local); err != nil {
		return nil, err
	}
	if s.oidc, err = login.NewProvider(cfg.OIDC, s.taken()...); err != nil {
		return nil, err
	}
	if s.sealer, err = login.NewSealer(); err != nil {
		return nil, err
	}
	if s.texts, err = readTexts(); err != nil {
		return nil, err
	}
	if s.assets, err = readAssets(); err != nil {
		return nil, err
	}
	if s.pages, err = readPages(s.texts, s.assets); err != nil {
		return nil, err
	}
	if s.desktops, err = s.newDesktops(cfg.Desktop); err != nil {
		return nil, err
	}
	s.logins = login.New(login.Config{Idle: cfg.Idle, Longest: cfg.Longest, Keeper: s.keeper, Recall: s.recall, Provider: s.oidc, Logger: s.log})
	s.cfg.Policy = cfg.Policy.settled()
	s.held = s.cfg.Policy.sessions(cfg.Operator, s.log)
	first, err := remembered(cfg.SSH.FirstUse, cfg.SSH.Remember)
	if err != nil {
		return nil, err
	}
	s.ssh = sshconn.New(first, s.log)
	s.handler = s.guard(s.routes())
	return s, nil
}

// remembered is what devices showed first, if that is to count; nil: it is not.
func remembered(firstUse bool, file string) (*firstuse.Pins, error) {
	if !firstUse {
		return nil, nil
	}
	return firstuse.Open(file)
}

// taken are names that no user of the provider has: control knows everybody by name, and
// they would be the same person there. Its own is "control".
func (c *Console) taken() []string {
	if c.local == nil {
		return []string{"control"}
	}
	return []string{"control", c.local.Name()}
}

// keeper is where logins are kept: beside all else that control knows.
func (c *Console) keeper() login.Keeper {
	if k := c.control.Logins(); k != nil {
		return k
	}
	return nil
}

// recall tells who somebody is who signed in before this process began, by what the
// configuration says now.
func (c *Console) recall(l control.Login) (control.User, bool) {
	if c.local != nil {
		if u, ok := c.local.Recall(l); ok {
			return u, true
		}
	}
	if c.oidc != nil {
		return c.oidc.Recall(l)
	}
	return control.User{}, false
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// LoginStats are figures of who is signed in; all but Logins only grow.
type LoginStats = login.Stats

// LoginStats is a snapshot.
func (c *Console) LoginStats() LoginStats { return c.logins.Stats() }

// Close ends what every login holds open here: it leaves their sessions, and waits until
// nothing of those is left, and the provider has heard of those who signed out, for some
// seconds at most. Who is signed in stays so for the console that comes next. It is
// idempotent.
func (c *Console) Close() error {
	c.ssh.Close()
	c.held.Close()
	c.logins.Close()
	return nil
}
