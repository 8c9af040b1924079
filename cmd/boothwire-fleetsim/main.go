// Command boothwire-fleetsim puts a whole deployment under load on this machine: real
// devices by the thousand, a real broker, control and nodes. It says what that took,
// and at which load the first limit breaks.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	code, err := cli.Main(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "boothwire-fleetsim:", err)
	}
	os.Exit(code)
}
