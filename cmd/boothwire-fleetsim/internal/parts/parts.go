package parts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/daemon"
)

// Config says what a deployment is made of.
type Config struct {
	Dir     string   // everything that is written
	Bin     string   // folder of boothwire-control and boothwire-gateway
	Devices []string // ids
	Nodes   int
	Broker  Broker // zero: a Mosquitto of our own
	Callers int    // API calls at once
	Profile bool   // let control and nodes be profiled
}

// A Deployment runs until Close.
type Deployment struct {
	Broker    Broker
	URL       string         // of control's API
	API       *client.Client // an admin's, of which so many calls run at once as Config says
	Engineers *client.Client // another user's, whose calls may last
	Trust     client.Trust
	Control   *Process
	Mosquit   *Process // nil: somebody else's broker
	Nodes     []*Process
	Metrics   map[string]string // address of each part's figures, by the part's name
	Debug     map[string]string // address of each part's profiles, likewise; only with Config.Profile

	http []*http.Transport
	dir  string
	bin  string
	more bool // profiles
}

// Start starts all parts and returns when control sees every node.
func Start(ctx context.Context, cfg Config) (*Deployment, error) {
	d := &Deployment{Broker: cfg.Broker, dir: cfg.Dir, bin: cfg.Bin, more: cfg.Profile, Metrics: make(map[string]string), Debug: make(map[string]string)}
	if err := d.start(ctx, cfg); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *Deployment) start(ctx context.Context, cfg Config) (err error) {
	if d.Broker.URL == "" {
		if d.Broker, d.Mosquit, err = startBroker(ctx, d.dir, cfg.Devices); err != nil {
			return err
		}
	}
	if err := d.startControl(ctx, cfg.Callers); err != nil {
		return err
	}
	if d.Trust, err = d.API.Trust(ctx); err != nil {
		return err
	}
	for i := range cfg.Nodes {
		if err := d.startNode(ctx, fmt.Sprintf("node-%d", i+1)); err != nil {
			return err
		}
	}
	return nil
}

// program is the path of one of the programs as shipped.
func (d *Deployment) program(name string) (string, error) {
	path, err := exec.LookPath(filepath.Join(d.bin, name))
	if err != nil {
		return "", fmt.Errorf("%s: make build puts it beside this program, -bin names another folder", err)
	}
	return path, nil
}

// shown is the lines of a part's configuration with what it shows of itself.
func (d *Deployment) shown(name string) (string, error) {
	figures, err := FreeAddress()
	if err != nil {
		return "", err
	}
	d.Metrics[name] = figures
	text := fmt.Sprintf("metrics = %q", figures)
	if d.more {
		if d.Debug[name], err = FreeAddress(); err != nil {
			return "", err
		}
		text += fmt.Sprintf("\ndebug = %q", d.Debug[name])
	}
	return text, nil
}

// startControl runs the back end with a certificate of its own making.
func (d *Deployment) startControl(ctx context.Context, callers int) error {
	bin, err := d.program("boothwire-control")
	if err != nil {
		return err
	}
	shown, err := d.shown("control")
	if err != nil {
		return err
	}
	state, file, login := filepath.Join(d.dir, "control"), filepath.Join(d.dir, "control.toml"), d.Broker.As(control)
	// A wide pool: an operator's address rests for a day before another gets it.
	text := fmt.Sprintf(`state = %q
listen = "127.0.0.1:0"
pool = "10.128.0.0/9"
%s
[mqtt]
url = %q
username = %q
password = %q
ca = %q
`, state, shown, d.Broker.URL, login.User, login.Password, d.Broker.CA)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	token, err := output(ctx, bin, "-config", file, "token", "fleetsim", "admin")
	if err != nil {
		return err
	}
	if d.Control, err = run(d.dir, "control", bin, "-config", file); err != nil {
		return err
	}
	address := ""
	err = d.Control.await(ctx, func() bool {
		address = d.Control.said("serving", "address")
		return address != ""
	})
	if err != nil {
		return err
	}
	d.URL = "https://" + address
	trusted, err := daemon.TLS{CA: filepath.Join(state, "tls.pem")}.Config() // it made that itself
	if err != nil {
		return err
	}
	call := func(token string, most int) *client.Client {
		t := &http.Transport{TLSClientConfig: trusted, MaxIdleConnsPerHost: callers, MaxConnsPerHost: most}
		d.http = append(d.http, t)
		return client.New(d.URL, &client.Config{Token: token, HTTP: &http.Client{Transport: t}})
	}
	d.API = call(token, callers)
	engineer, err := d.API.CreateToken(ctx, &client.TokenRequest{User: "engineer", Role: "operator"})
	if err != nil {
		return err
	}
	d.Engineers = call(engineer.Secret, 0)
	return nil
}

// startNode enrols a node as a real one does, with an address of its own.
func (d *Deployment) startNode(ctx context.Context, name string) error {
	bin, err := d.program("boothwire-gateway")
	if err != nil {
		return err
	}
	claim, err := d.API.ClaimNode(ctx, name)
	if err != nil {
		return err
	}
	shown, err := d.shown(name)
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	file := filepath.Join(d.dir, name+".toml")
	text := fmt.Sprintf(`name = %q
state = %q
control = %q
claim = %q
listen = %d
endpoints = ["127.0.0.1:%[5]d"]
plane = "userspace"
%s
`, name, filepath.Join(d.dir, name), d.URL, claim.Claim, port, shown)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	p, err := run(d.dir, name, bin, "-config", file)
	if err != nil {
		return err
	}
	d.Nodes = append(d.Nodes, p)
	return p.await(ctx, func() bool {
		for n, err := range d.API.Nodes(ctx) {
			if err == nil && n.Name == name {
				return n.State == "connected"
			}
		}
		return false
	})
}

// Processes are all parts that run here.
func (d *Deployment) Processes() []*Process {
	var all []*Process
	for _, p := range append([]*Process{d.Mosquit, d.Control}, d.Nodes...) {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// Failed is an error when a part has ended by itself.
func (d *Deployment) Failed(expected func(name string) bool) error {
	var errs []error
	for _, p := range d.Processes() {
		select {
		case <-p.Gone():
			if !expected(p.Name) {
				errs = append(errs, fmt.Errorf("%s ended: %w\n%s", p.Name, p.err, p.tail()))
			}
		default:
		}
	}
	return errors.Join(errs...)
}

// Close ends all parts: nodes first, the broker last.
func (d *Deployment) Close() {
	for _, t := range d.http {
		t.CloseIdleConnections()
	}
	all := d.Processes()
	for i := len(all) - 1; i >= 0; i-- {
		all[i].Stop()
	}
}
