package console

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/boothwire/boothwire/gateway/control/console/internal/files"
	"github.com/boothwire/boothwire/gateway/control/console/internal/held"
	"github.com/boothwire/boothwire/gateway/control/console/internal/sshconn"
	"github.com/boothwire/boothwire/gateway/control/console/internal/terminal"
)

// SSH is how Terminal and Files reach devices. Its zero value takes only host keys that
// devices signed.
type SSH struct {
	// FirstUse takes the first host key of a device that signed none, and no other one
	// after it; the file Remember keeps those keys, "": this process.
	FirstUse bool
	Remember string
	// Largest is the most bytes of a file that is uploaded; default 8 GiB.
	Largest int64

	hearing time.Duration // terminal.Handler's
}

// sshRoutes are those of Terminal and Files.
func (c *Console) sshRoutes(mux *http.ServeMux) {
	const below = "/console/held/{id}"
	shells := &terminal.Handler{Conns: c.ssh, Redeem: c.redeemSSH, Hearing: c.cfg.SSH.hearing, Logger: c.log}
	mux.Handle("GET "+below+"/terminal", c.signedIn(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !SameOrigin(r) {
			refuse(w, http.StatusForbidden, "cross_origin", "the request comes from no page of this console")
			return
		}
		shells.ServeHTTP(w, r)
	})))
	files.New(files.Config{Open: c.openFiles, Logger: c.log, Largest: c.cfg.SSH.Largest}).Routes(below, func(pattern string, h http.Handler) {
		mux.Handle(pattern, c.signedIn(h))
	})
}

// redeemSSH opens the tab that a connect code is for, if it is one of the session that
// the address names.
func (c *Console) redeemSSH(r *http.Request, code string) (terminal.Tab, error) {
	who := whoOf(r)
	tab, err := c.held.Redeem(r.Context(), code, who, held.SSH)
	if err != nil {
		return nil, err
	}
	if tab.Session.ID != r.PathValue("id") {
		tab.Close()
		return nil, errOtherSession
	}
	return &sshTab{newSSHTarget(tab.Session, who), tab}, nil
}

var errOtherSession = errors.New("console: the code is of another session")

// openFiles opens a tab for one request of a files page.
func (c *Console) openFiles(r *http.Request) (files.Tab, *sshconn.Conn, error) {
	who := whoOf(r)
	s, err := c.held.Find(who.User, r.PathValue("id"))
	if err != nil {
		return nil, nil, err
	}
	tab, err := s.Tab(r.Context(), who)
	if err != nil {
		return nil, nil, err
	}
	return tab, c.ssh.Of(sshKey(s, who)), nil
}

// sshTab is a tab of a target, whose connection outlives it.
type sshTab struct {
	*sshTarget
	tab *held.Tab
}

// Context implements terminal.Tab.
func (t *sshTab) Context() context.Context { return t.tab.Context() }

// Err implements terminal.Tab.
func (t *sshTab) Err() error { return t.tab.Err() }

// Close implements terminal.Tab.
func (t *sshTab) Close() { t.tab.Close() }

// sshTarget is a held session's device, for one login.
type sshTarget struct {
	session *held.Session
	who     held.Who
	done    func() <-chan struct{}
}

func newSSHTarget(s *held.Session, who held.Who) *sshTarget {
	return &sshTarget{session: s, who: who, done: sync.OnceValue(func() <-chan struct{} {
		over := make(chan struct{})
		go func() {
			defer close(over)
			select {
			case <-s.Done():
			case <-who.Until.Done():
			}
		}()
		return over
	})}
}

// sshKey names what shares a connection: another login of the same user signs in anew.
func sshKey(s *held.Session, who held.Who) string { return s.ID + " " + who.Login }

// Key implements sshconn.Target.
func (t *sshTarget) Key() string { return sshKey(t.session, t.who) }

// Device implements sshconn.Target.
func (t *sshTarget) Device() string { return t.session.Device }

// Dial implements sshconn.Target.
func (t *sshTarget) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	return t.session.Dial(ctx, port)
}

// HostKey implements sshconn.Target.
func (t *sshTarget) HostKey(ctx context.Context) (string, error) {
	d, err := t.session.Known(ctx)
	return d.SSH, err
}

// Done implements sshconn.Target.
func (t *sshTarget) Done() <-chan struct{} { return t.done() }
