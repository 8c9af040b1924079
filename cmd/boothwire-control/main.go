// Windows has made certificates of RDP servers with negative serial numbers.
//go:debug x509negativeserial=1

// Command boothwire-control is the thin reference back end: it knows the fleet,
// decides who may open a session, and signs for it.
package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-control/internal/config"
	"github.com/boothwire/boothwire/cmd/boothwire-control/internal/serve"
	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console"
	"github.com/boothwire/boothwire/internal/daemon"
)

//go:embed example.toml
var example string

func main() {
	var cfg config.Config
	daemon.Main(daemon.Program{
		Name:     "boothwire-control",
		Summary:  "is the back end: devices, nodes, sessions, grants and audit.",
		Example:  example,
		Config:   &cfg,
		Settings: &cfg.Settings,
		Run:      func(ctx context.Context, log *zap.Logger) error { return serve.Run(ctx, &cfg, log) },
		Commands: map[string]daemon.Command{
			"token": {Summary: "USER ROLE: make a token of the API before the first start (later: boothctl tokens add)", Run: func(ctx context.Context, args []string, out io.Writer) error {
				return token(ctx, &cfg, args, out)
			}},
			"console-password": {Summary: "make the password_hash of [console.local]: reads the password from standard input", Run: func(_ context.Context, _ []string, out io.Writer) error {
				return hash(os.Stdin, out)
			}},
		},
	})
}

// token makes the first token, which no token can be needed for.
func token(ctx context.Context, cfg *config.Config, args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: boothwire-control -config FILE token USER viewer|operator|approver|admin")
	}
	c, err := control.Open(ctx, cfg.DSN(), cfg.Control("", zap.NewNop()))
	if err != nil {
		return err
	}
	made, err := c.Client(control.User{Name: "console", Role: control.Admin}).CreateToken(ctx, &client.TokenRequest{User: args[0], Role: args[1]})
	if err == nil {
		_, err = fmt.Fprintln(out, made.Secret)
	}
	return errors.Join(err, c.Close())
}

// hash makes what the configuration keeps of a password, which in holds as a line.
func hash(in io.Reader, out io.Writer) error {
	line, err := bufio.NewReader(io.LimitReader(in, 1<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	made, err := console.HashPassword(strings.TrimRight(line, "\r\n"))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "password_hash = '%s'\n", made)
	return err
}
