package fleet

import (
	"context"
	"errors"
	"net"
	"net/http"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling/https"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// Desk is the console and who may sign in there.
type Desk struct {
	URL            string
	Name, Password string
}

// startConsole serves the console on a port of its own, over plain HTTP: no browser
// knows the demo's certificate, and what stays on this machine nobody hears.
func (f *Fleet) startConsole(run context.Context, c *control.Control) error {
	admin := &console.Local{Name: "admin"}
	password, err := admin.Invent()
	if err != nil {
		return err
	}
	log := f.log.Named("console")
	desk, err := console.New(c, &console.Config{
		Local: admin, Logger: log,
		Operator: operator.Config{Relay: f.Dialling(), Socket: f.Socket},
		Policy:   console.Policy{Ports: []keys.Port{keys.TCP(22)}}, // the booths have no other service
	})
	if err != nil {
		return err
	}
	f.later(desk.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/console/", desk)
	mux.Handle("GET /{$}", http.RedirectHandler("/console/", http.StatusSeeOther))
	srv := https.Server(mux)
	srv.ErrorLog = zap.NewStdLog(log)
	context.AfterFunc(run, func() { srv.Close() })
	f.work.Go(func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("serve", zap.Error(err))
		}
	})
	f.Desk = Desk{URL: "http://" + ln.Addr().String() + "/console/", Name: admin.Name, Password: password}
	return nil
}
