// Windows has made certificates of RDP servers with negative serial numbers.
//go:debug x509negativeserial=1

// Command boothwire-demo plays a service call on a whole fleet in one process: no
// root, nothing but Go. Then it stays up, for trying boothctl and ssh by hand.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/fleet"
	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/story"
	"github.com/boothwire/boothwire/internal/daemon"
)

func main() {
	once := flag.Bool("once", false, "exit after the story: 0 if every part of it worked")
	kiosks := flag.Int("kiosks", 3, "`number` of photo booths")
	mib := flag.Int64("log", 64, "size of each booth's log, in `MiB`")
	verbose := flag.Bool("v", false, "log what every part does, on stderr")
	version := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if *version {
		fmt.Println("boothwire-demo", daemon.Version())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	log := zap.NewNop()
	if *verbose {
		log, _ = zap.NewDevelopment()
	}
	if err := run(ctx, *kiosks, *mib<<20, *once, log); err != nil {
		fmt.Fprintln(os.Stderr, "boothwire-demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kiosks int, logSize int64, once bool, log *zap.Logger) error {
	if kiosks < 1 || kiosks > 100 || logSize < 1 {
		return fmt.Errorf("-kiosks takes 1 to 100, -log at least 1")
	}
	dir, err := os.MkdirTemp("", "boothwire-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := story.New(os.Stdout)
	f, err := fleet.Start(ctx, dir, kiosks, logSize, log)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.Play(ctx, f); err != nil {
		return err
	}
	if once {
		return nil
	}
	s.Invite(f)
	<-ctx.Done()
	return nil
}
