// Package cli is boothctl's commands: each is one file, and each is a few calls
// of packages client and operator.
package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/relay"
)

// An app is one run of boothctl.
type app struct {
	url, token, ca string

	json, verbose, quiet bool

	in       io.Reader
	out, err io.Writer
}

// The exit statuses; ssh's own is that of the ssh that was run.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // as a shell says of SIGINT
)

// Main runs boothctl and returns the process's exit status.
func Main(args []string) int {
	// ssh ends its ProxyCommand with a hangup and a closed pipe: both must leave
	// time to take leave of control. A pipe's signal is caught, not ignored: what
	// is ignored stays so in the programs that boothctl runs. A second hangup, which
	// the terminal sends when it closes, must not cut the leave short.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // the second Ctrl-C does not wait for control
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(append([]string{}, args...)) // nil would be those of the process
	err := root.ExecuteContext(ctx)
	var status exitStatus
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, syscall.EPIPE):
		return exitFailed // nobody reads on, as in boothctl devices | head
	}
	a.tell(err)
	switch {
	case errors.As(err, new(usageError)):
		return exitUsage
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailed
}

// exitStatus is the end of a program that boothctl ran.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usageError is a call that cannot be right, whatever control says.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "boothctl",
		Short: "reach photo booths, and look after them",
		Long: `boothctl speaks to boothwire-control and reaches devices through their nodes.

It finds control and its sign-in in the flags or in the environment:
  BOOTHWIRE_URL    such as https://control.example.com
  BOOTHWIRE_TOKEN  a token of the API
  BOOTHWIRE_CA     a PEM file of authorities, where control's is not a public one`,
		Example: `  boothctl devices
  boothctl ssh kiosk-00042
  boothctl forward kiosk-00042 3389:3389     # then point RDP at localhost
  ssh -o ProxyCommand="boothctl proxy %h %p" kiosk-00042`,
		Version:       daemon.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
	})
	f := root.PersistentFlags()
	f.StringVar(&a.url, "url", os.Getenv("BOOTHWIRE_URL"), "control's address")
	f.StringVar(&a.token, "token", "", "token of the API (better: BOOTHWIRE_TOKEN)")
	f.StringVar(&a.ca, "ca", os.Getenv("BOOTHWIRE_CA"), "PEM file of authorities that control's certificate may be of")
	f.BoolVar(&a.json, "json", false, "print JSON, for programs")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log what the tunnel does, on stderr")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "do not show the ladder while connecting")
	root.AddCommand(a.devices(), a.connect(), a.ssh(), a.knownHost(), a.proxy(), a.forward(), a.up(), a.sessions(), a.close(), a.extend(), a.nodes(), a.audit(), a.trust(), a.tokens(), a.db())
	root.Args = cobra.NoArgs
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	usage(root)
	return root
}

// usage makes a usageError of what any command says of its arguments.
func usage(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usageError{fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usage(sub)
	}
}

// client speaks to control as the flags say.
func (a *app) client() (*client.Client, error) {
	if a.url == "" {
		return nil, usageError{errors.New("where is control? --url or BOOTHWIRE_URL, such as https://control.example.com")}
	}
	if !strings.HasPrefix(a.url, "https://") {
		return nil, usageError{fmt.Errorf("control's address must begin with https://, not %q", a.url)}
	}
	token := a.token
	if token == "" {
		token = os.Getenv("BOOTHWIRE_TOKEN")
	}
	if token == "" {
		return nil, usageError{errors.New("no sign-in: set BOOTHWIRE_TOKEN to a token of control's API")}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	var err error
	if t.TLSClientConfig, err = a.tls(); err != nil {
		return nil, err
	}
	return client.New(a.url, &client.Config{Token: token, HTTP: &http.Client{Transport: t}}), nil
}

// tls trusts the given authorities, or the system's.
func (a *app) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.ca == "" {
		return c, nil
	}
	pem, err := os.ReadFile(a.ca)
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", a.ca)
	}
	return c, nil
}

// relay is how relays are reached: they are trusted as control is.
func (a *app) relay() (*relay.Config, error) {
	c, err := a.tls()
	return &relay.Config{TLS: c, Logger: a.logger()}, err
}

// with is a command that speaks to control.
func (a *app) with(run func(*cobra.Command, *client.Client, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctl, err := a.client()
		if err != nil {
			return err
		}
		return run(cmd, ctl, args)
	}
}

// logger writes to stderr with --verbose, and nowhere without.
func (a *app) logger() *zap.Logger {
	if !a.verbose {
		return nil
	}
	cfg := zap.NewDevelopmentEncoderConfig()
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(cfg), zapcore.Lock(zapcore.AddSync(a.err)), zap.DebugLevel))
}

// deviceArg completes device ids from control.
func (a *app) deviceArg(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []string
	for d, err := range c.Devices(cmd.Context(), client.Filter{}) {
		if err != nil || len(ids) == 1000 {
			break
		}
		ids = append(ids, d.ID)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
