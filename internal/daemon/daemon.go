// Package daemon is what the programs under cmd share: flags, a configuration
// file checked at start, a log that one can grep, signals and a debug page.
package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"go.uber.org/zap"
)

// A Program is one service: what it is, how its configuration looks, and what
// it does until ctx ends.
type Program struct {
	Name    string // boothwire-agent
	Summary string // one sentence
	Example string // a configuration that works, shown by -example
	// Config is a pointer to a struct of toml fields; it may be a Validator.
	Config any
	// Settings are the configuration's parts that this package serves.
	Settings *Settings
	// Run serves until ctx ends and then leaves nothing behind.
	Run func(ctx context.Context, log *zap.Logger) error
	// Commands are what else the program does: "NAME" prints and exits.
	Commands map[string]Command
}

// A Command is a verb beside serving, such as printing a key.
type Command struct {
	Summary string
	Run     func(ctx context.Context, args []string, out io.Writer) error
}

// Settings are fields that every program's configuration has.
type Settings struct {
	// Log is the lowest level shown: debug, info, warn or error; default info.
	Log string `toml:"log"`
	// Debug is a loopback address for /debug/pprof; default none.
	Debug string `toml:"debug"`
}

// Main runs the program with the process's arguments and exits with 0 when it
// ended as asked, 1 when it failed and 2 when it was called wrongly.
func Main(p Program) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends a program that hangs
	err := p.main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, new(usageError)):
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		os.Exit(1)
	}
}

type usageError struct{ error }

func (p *Program) main(ctx context.Context, args []string, out, errOut io.Writer) error {
	flags := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // Main says what was wrong
	config := flags.String("config", "", "the configuration `file` (TOML)")
	check := flags.Bool("check", false, "check the configuration and the files that it names, and exit")
	example := flags.Bool("example", false, "print a configuration to begin from and exit")
	version := flags.Bool("version", false, "print the version and exit")
	flags.Usage = func() {}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			p.usage(flags, out)
			return err
		}
		return usageError{fmt.Errorf("%w; -help says more", err)}
	}
	switch {
	case *version:
		fmt.Fprintln(out, p.Name, Version())
		return nil
	case *example:
		fmt.Fprint(out, p.Example)
		return nil
	case *config == "":
		return usageError{errors.New("-config FILE is required; -example prints one to begin from, -help says more")}
	}
	if err := Load(*config, p.Config); err != nil {
		return err
	}
	log, err := p.Settings.logger(p.Name, errOut)
	if err != nil {
		return fmt.Errorf("%s: %w", *config, err)
	}
	if *check {
		if err := Check(*config, p.Config); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: good\n", *config)
		return nil
	}
	if flags.NArg() > 0 {
		c, ok := p.Commands[flags.Arg(0)]
		if !ok {
			return usageError{fmt.Errorf("%q is no command of %s; -help lists them", flags.Arg(0), p.Name)}
		}
		return c.Run(ctx, flags.Args()[1:], out)
	}
	return p.serve(ctx, log)
}

func (p *Program) serve(ctx context.Context, log *zap.Logger) error {
	defer log.Sync()
	stop, err := p.Settings.serveDebug(log)
	if err != nil {
		return err
	}
	defer stop()
	log.Info("started", zap.String("version", Version()))
	err = p.Run(ctx, log)
	if err != nil && ctx.Err() == nil {
		log.Error("failed", zap.Error(err))
		return err
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Warn("not all ended well", zap.Error(err))
	}
	log.Info("stopped")
	return nil
}

func (p *Program) usage(flags *flag.FlagSet, w io.Writer) {
	fmt.Fprintf(w, "%s %s\n\nusage: %s -config FILE [command]\n\n", p.Name, p.Summary, p.Name)
	for _, name := range slices.Sorted(maps.Keys(p.Commands)) {
		fmt.Fprintf(w, "  %-10s %s\n", name, p.Commands[name].Summary)
	}
	flags.SetOutput(w)
	flags.PrintDefaults()
}

// Version is the module's version as built, with the revision where the build
// knows it, the Go version and the platform.
func Version() string {
	v, rev := "(devel)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			// A pseudo-version ends in the revision itself.
			if s.Key == "vcs.revision" && len(s.Value) >= 12 && !strings.Contains(v, s.Value[:12]) {
				rev = " " + s.Value[:12]
			}
		}
	}
	return fmt.Sprintf("%s%s %s %s/%s", v, rev, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
