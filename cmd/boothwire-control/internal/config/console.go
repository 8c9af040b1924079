package config

import (
	"cmp"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
)

// Console is the back office in a browser; it is there when somebody may sign in.
type Console struct {
	Idle    daemon.Duration `toml:"idle"`
	Longest daemon.Duration `toml:"longest"`
	Grace   daemon.Duration `toml:"grace"`
	Most    int             `toml:"sessions"`
	Ports   []string        `toml:"ports"`
	RelayCA string          `toml:"relay_ca"`
	Local   *LocalAdmin     `toml:"local"`
	OIDC    *OIDC           `toml:"oidc"`
	Desktop Desktop         `toml:"desktop"`
	SSH     SSH             `toml:"ssh"`
}

// Desktop is how desktops come into a browser.
type Desktop struct {
	Plain      bool   `toml:"without_nla"`
	FirstUse   bool   `toml:"first_use"`
	Record     bool   `toml:"record"`
	Most       int    `toml:"most"`
	Guacd      string `toml:"guacd"`
	Recordings string `toml:"recordings"`
	Keys       bool   `toml:"recorded_keys"`
	Drive      bool   `toml:"drive"`
}

// SSH is how Terminal and Files reach devices.
type SSH struct {
	FirstUse bool  `toml:"first_use"`
	Largest  int64 `toml:"largest_mib"`
}

func (s SSH) console(state string) console.SSH {
	return console.SSH{FirstUse: s.FirstUse, Remember: filepath.Join(state, "ssh-host-keys"), Largest: s.Largest << 20}
}

// LocalAdmin is an administrator whom control itself knows.
type LocalAdmin struct {
	Name     string `toml:"name"`
	Hash     string `toml:"password_hash"`
	Anywhere bool   `toml:"anywhere"`
}

// OIDC is the OpenID provider whose users may sign in.
type OIDC struct {
	Issuer     string   `toml:"issuer"`
	ClientID   string   `toml:"client_id"`
	Secret     string   `toml:"client_secret"`
	SecretFile string   `toml:"client_secret_file"`
	Redirect   string   `toml:"redirect"`
	Scopes     []string `toml:"scopes"`
	Name       string   `toml:"name_claim"`
	Groups     string   `toml:"groups_claim"`
	Rules      []Rule   `toml:"rule"`

	Recheck daemon.Duration `toml:"recheck"`
	MaxAge  daemon.Duration `toml:"max_age"`
}

// Rule gives members of a provider's group a role.
type Rule struct {
	Group   string   `toml:"group"`
	Role    string   `toml:"role"`
	Devices []string `toml:"devices"`
}

// On reports whether there is a console.
func (c *Console) On() bool { return c.Local != nil || c.OIDC != nil }

// Validate checks what types cannot say.
func (c *Console) Validate() error {
	if _, err := c.wanted(); err != nil {
		return daemon.Wrong("ports", "%w", err)
	}
	if c.Local != nil && c.Local.Hash != "" {
		if err := console.CheckHash(c.Local.Hash); err != nil {
			return daemon.Wrong("local.password_hash", "%w", err)
		}
	}
	if err := c.Desktop.validate(); err != nil {
		return err
	}
	if c.SSH.Largest < 0 || c.SSH.Largest > 1<<30 {
		return daemon.Wrong("ssh.largest_mib", "from 1 to %d", 1<<30)
	}
	if c.OIDC == nil {
		return nil
	}
	if c.OIDC.Secret != "" && c.OIDC.SecretFile != "" {
		return daemon.Wrong("oidc.client_secret_file", "client_secret is set too: one of them is enough")
	}
	if wrong, ok := errors.AsType[*console.BadField](c.OIDC.provider("").Check()); ok {
		return daemon.Wrong("oidc."+wrong.Field, "%w", wrong.Err)
	}
	return c.OIDC.checkTimes()
}

const (
	// Each who is signed in is asked about by himself: more often than that, and the
	// provider is busy with nothing else.
	leastRecheck = 10 * time.Second
	// mostMaxAge is beyond any working day; defaultMaxAge what the console has by itself.
	mostMaxAge    = 30 * 24 * time.Hour
	defaultMaxAge = 8 * time.Hour
)

func (o *OIDC) checkTimes() error {
	recheck, age := time.Duration(o.Recheck), cmp.Or(time.Duration(o.MaxAge), defaultMaxAge)
	switch {
	case age > mostMaxAge:
		return daemon.Wrong("oidc.max_age", "%v is too long: at most %v", age, mostMaxAge)
	case recheck != 0 && recheck < leastRecheck:
		return daemon.Wrong("oidc.recheck", "%v is too often, for each who is signed in: at least %v", recheck, leastRecheck)
	case recheck > age:
		return daemon.Wrong("oidc.recheck", "%v is more than max_age, %v, at which a login is over: the provider would never be asked", recheck, age)
	}
	return nil
}

func (c *Console) checkFiles() error {
	if _, err := c.relay(zap.NewNop()); err != nil || c.OIDC == nil {
		return err
	}
	if _, err := c.OIDC.secret(); err != nil {
		return daemon.In("console", err)
	}
	return nil
}

// secret is the client's at the provider.
func (o *OIDC) secret() (string, error) {
	secret, err := (&daemon.Login{Password: o.Secret, PasswordFile: o.SecretFile}).Secret()
	if wrong, ok := errors.AsType[*daemon.FieldError](err); ok {
		err = &daemon.FieldError{Field: "oidc.client_secret_file", Err: wrong.Err}
	}
	return secret, err
}

func (d *Desktop) validate() error {
	if d.Guacd == "" {
		for _, f := range []struct {
			name string
			set  bool
		}{{"record", d.Record}, {"recordings", d.Recordings != ""}, {"recorded_keys", d.Keys}, {"drive", d.Drive}} {
			if f.set {
				return daemon.Wrong("desktop."+f.name, "needs guacd")
			}
		}
		return nil
	}
	if _, _, err := net.SplitHostPort(d.Guacd); err != nil {
		return daemon.Wrong("desktop.guacd", "%q is no host:port", d.Guacd)
	}
	if d.Record && d.Recordings == "" {
		return daemon.Wrong("desktop.record", "needs a folder for recordings")
	}
	return nil
}

// console is the same for the console; what devices showed first is kept in the state folder.
func (d *Desktop) console(state string) console.Desktop {
	c := console.Desktop{Plain: d.Plain, FirstUse: d.FirstUse, Record: d.Record, Most: d.Most, Remember: filepath.Join(state, "rdp-certificates")}
	if d.Guacd != "" {
		c.Guacd = &console.Guacd{Address: d.Guacd, Recordings: d.Recordings, Keys: d.Keys, Drive: d.Drive}
	}
	return c
}

func (o *OIDC) provider(secret string) *console.OIDC {
	p := &console.OIDC{
		Issuer: o.Issuer, ClientID: o.ClientID, Secret: secret, Redirect: o.Redirect,
		Scopes: o.Scopes, Name: o.Name, Groups: o.Groups,
		Recheck: time.Duration(o.Recheck), MaxAge: time.Duration(o.MaxAge),
	}
	for _, r := range o.Rules {
		p.Rules = append(p.Rules, console.Rule{Group: r.Group, Role: control.Role(r.Role), Devices: r.Devices})
	}
	return p
}

// wanted are the ports that a session asks for; none: the console's default.
func (c *Console) wanted() ([]keys.Port, error) {
	var all []keys.Port
	for _, text := range c.Ports {
		p, err := keys.ParsePort(text)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// policy is what the console's pages ask for, so that control need not refuse.
func (c *Config) policy() (p console.Policy, err error) {
	p = console.Policy{
		RequireReason: c.RequireReason, RequireTicket: c.RequireTicket, Kind: c.Kind,
		Lifetime: time.Duration(c.Lifetime), Longest: time.Duration(c.Longest),
		Grace: time.Duration(c.Console.Grace), Most: c.Console.Most,
	}
	p.Ports, err = c.Console.wanted()
	return p, err
}

// relay is how the console's own ends of sessions dial relays.
func (c *Console) relay(log *zap.Logger) (*relay.Config, error) {
	t, err := daemon.TLS{CA: c.RelayCA}.Config()
	if err != nil {
		return nil, &daemon.FieldError{Field: "console.relay_ca", Err: err}
	}
	return &relay.Config{TLS: t, Logger: log}, nil
}

// OpenConsole returns the console of a control. A local administrator without a password gets
// one, good until the program ends, in a file that only its user can read.
func (all *Config) OpenConsole(ctl console.Control, log *zap.Logger) (*console.Console, error) {
	c, state := &all.Console, all.State
	cfg := &console.Config{Idle: time.Duration(c.Idle), Longest: time.Duration(c.Longest), Desktop: c.Desktop.console(state), SSH: c.SSH.console(state), Logger: log}
	var err error
	if cfg.Policy, err = all.policy(); err != nil {
		return nil, err
	}
	if cfg.Operator.Relay, err = c.relay(log); err != nil {
		return nil, err
	}
	if c.OIDC != nil {
		secret, err := c.OIDC.secret()
		if err != nil {
			return nil, daemon.In("console", err)
		}
		cfg.OIDC = c.OIDC.provider(secret)
	}
	if c.Local != nil {
		cfg.Local = &console.Local{Name: c.Local.Name, Hash: c.Local.Hash, Anywhere: c.Local.Anywhere}
		if c.Local.Hash == "" {
			file := filepath.Join(state, "console-password")
			password, err := cfg.Local.Invent()
			if err == nil {
				err = errors.Join(os.RemoveAll(file), os.WriteFile(file, []byte(password+"\n"), 0o600)) // anew: the mode is of who made it
			}
			if err != nil {
				return nil, err
			}
			log.Info("the console's local administrator has a new password", zap.String("file", file))
		}
	}
	return console.New(ctl, cfg)
}
