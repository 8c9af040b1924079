// Package cli is the command line of boothwire-fleetsim.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/load"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/parts"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/report"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/scenario"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/terminal"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/worker"
	"github.com/boothwire/boothwire/internal/daemon"
)

// The exit codes.
const (
	good   = 0
	failed = 1
	usage  = 2
	short  = 3 // it ran, and something that must hold does not
)

// Main runs the program and returns its exit code.
func Main(ctx context.Context, args []string) (int, error) {
	if len(args) == 1 && args[0] == worker.Argument {
		if err := worker.Work(ctx, os.Stdin, os.Stdout); err != nil {
			return failed, err
		}
		return good, nil
	}
	o, err := parse(args, os.Stdout)
	if err != nil || o == nil {
		if errors.Is(err, flag.ErrHelp) {
			return good, nil
		}
		return usage, err
	}
	r, err := o.run(ctx)
	switch {
	case err != nil:
		return failed, err
	case !r.Holds():
		return short, nil
	}
	return good, nil
}

// run does the script and writes what it found.
func (o *options) run(ctx context.Context) (*report.Report, error) {
	if err := parts.ManyDescriptors(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "boothwire-fleetsim-")
	if err != nil {
		return nil, err
	}
	if o.keep {
		fmt.Fprintln(os.Stderr, "files and logs stay in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	show := terminal.New(os.Stderr)
	r, err := load.Do(ctx, o.script, load.Config{Dir: dir, Bin: o.bin, Broker: o.broker, Profile: o.profile, Progress: show})
	show.Close()
	if err != nil {
		return nil, err
	}
	r.Command = o.command
	r.WriteText(os.Stdout)
	return r, o.write(r)
}

// write writes the files that were asked for.
func (o *options) write(r *report.Report) error {
	var errs []error
	for file, write := range map[string]func(io.Writer) error{o.json: r.WriteJSON, o.html: r.WriteHTML} {
		if file == "" {
			continue
		}
		f, err := os.Create(file)
		if err == nil {
			err = errors.Join(write(f), f.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

type options struct {
	script  *scenario.Scenario
	command []string
	bin     string // folder of the other programs
	html    string // file
	json    string // file
	keep    bool
	profile string // folder
	broker  parts.Broker
}

// parse reads the command line; nil without an error: what was asked for was printed.
func parse(args []string, out io.Writer) (*options, error) {
	o := &options{command: append([]string{"boothwire-fleetsim"}, args...)}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := flag.NewFlagSet("boothwire-fleetsim", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.bin, "bin", filepath.Dir(self), "`folder` of boothwire-control and boothwire-gateway")
	f.StringVar(&o.json, "json", "", "write the report to `file`, as JSON")
	f.StringVar(&o.html, "html", "", "write the report to `file`, as a page with plots")
	f.BoolVar(&o.keep, "keep", false, "keep the parts' files and logs")
	f.StringVar(&o.profile, "profile", "", "write CPU profiles of every part and step into `folder`")
	f.StringVar(&o.broker.URL, "broker", "", "`URL` of a broker that runs already; default: a Mosquitto of its own")
	f.StringVar(&o.broker.Login.User, "broker-user", "", "`name` of control and every device at that broker")
	password := f.String("broker-password-file", "", "`file` with the password of that name")
	f.StringVar(&o.broker.CA, "broker-ca", "", "`file` with the authority of that broker's certificate")
	change := new(scenario.Change)
	change.Flags(f)
	version := f.Bool("version", false, "print the version and exit")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			help(f, out)
		}
		return nil, err
	}
	if *version {
		fmt.Fprintln(out, "boothwire-fleetsim", daemon.Version())
		return nil, nil
	}
	if f.NArg() != 1 {
		return nil, fmt.Errorf("one of %s, or a file.toml, is required; -help says more", strings.Join(scenario.Names(), ", "))
	}
	if *password != "" {
		login := daemon.Login{PasswordFile: *password}
		if o.broker.Login.Password, err = login.Secret(); err != nil {
			return nil, err
		}
	}
	o.script, err = scenario.Load(f.Arg(0), change)
	return o, err
}

func help(f *flag.FlagSet, out io.Writer) {
	fmt.Fprint(out, `boothwire-fleetsim puts a whole deployment under load on this machine.

usage: boothwire-fleetsim [flags] SCRIPT|file.toml

`)
	for _, name := range scenario.Names() {
		if s, err := scenario.Load(name, nil); err == nil {
			fmt.Fprintf(out, "  %-8s %s\n", name, s.Title)
		}
	}
	fmt.Fprintln(out)
	f.SetOutput(out)
	f.PrintDefaults()
	fmt.Fprint(out, `
The exit status is 3 where something that must hold does not.

file.toml:

`, scenario.Format)
}
