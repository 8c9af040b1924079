// Command tunnel-only serves one session with a grant that came by a road of its
// own: no signalling, no agent. Its arguments are the roots it trusts; it prints
// its prekeys, reads the grant from its standard input and ends with the session.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, roots []string, in io.Reader, out io.Writer) error {
	device, err := keys.OpenDevice("press-7", keys.Dir("state"), keys.Trust{Roots: roots})
	if err != nil {
		return err
	}
	// For whoever makes the grant: which device this is, and its one-time keys.
	if _, err := fmt.Fprintf(out, "%v\n%s\n", device.Key(), device.Prekeys()); err != nil {
		return err
	}
	token, err := io.ReadAll(io.LimitReader(in, 16<<10))
	if err != nil {
		return err
	}
	grant, key, err := device.Accept(token)
	if err != nil {
		return err
	}
	defer device.End(grant.Session)
	cfg := tunnel.ForDevice(grant, key)
	cfg.Mode = tunnel.Driverless
	t, err := tunnel.Up(ctx, cfg)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Ready(ctx); err != nil {
		return err
	}
	log.Printf("reached at %v", grant.Addresses)
	select {
	case <-t.Done():
	case <-ctx.Done():
	}
	if err := t.Err(); !errors.Is(err, tunnel.ErrLifetime) && !errors.Is(err, tunnel.ErrIdle) {
		return err
	}
	return nil
}
