package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/internal/browsertest"
	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/tunnel/agent"
)

// A session's page in a browser, from the click to the end, with two engineers, an
// approver and somebody who only looks.
func TestSessionInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("short: a browser")
	}
	netlab.Require(t, "chromium")
	browsertest.Tools(t)
	b := newBooth(t, &control.Config{RequireReason: true}, func(c *Config) { c.Policy = Policy{RequireReason: true} })
	refuse := make(chan struct{})
	refused := sync.OnceFunc(func() { close(refuse) })
	t.Cleanup(refused)
	b.world.Device("kiosk-2", "north", nil, &agent.Config{MayOpen: func(context.Context, agent.Session) error {
		<-refuse
		return errors.New("a customer is paying")
	}})
	logins := make(map[string]string)
	for _, u := range []control.User{
		operatorOf("ann"), operatorOf("bob"), operatorOf("cat"), {Name: "boss", Role: control.Approver}, {Name: "eve", Role: control.Viewer},
	} {
		_, logins[u.Name] = b.begin(t, u)
	}
	browsertest.Play(t, browsertest.Scenario{
		File: "session.mjs",
		Args: map[string]any{"url": b.url + "/console/", "logins": logins},
		Answers: map[string]func(json.RawMessage) (any, error){
			"refuse": func(json.RawMessage) (any, error) { refused(); return nil, nil },
		},
	})
}

// Control is started anew in the middle of a repair: in a process that goes on, as when a
// lead is lost and taken again, and with a console that knows nothing of before.
func TestRestartInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("short: a browser")
	}
	netlab.Require(t, "chromium")
	browsertest.Tools(t)
	b := newBooth(t, nil, nil)
	var now atomic.Pointer[Console]
	now.Store(b.Console)
	front := newServed(t, func(w http.ResponseWriter, r *http.Request) { now.Load().ServeHTTP(w, r) })
	t.Cleanup(func() { now.Load().Close() }) // first: streams end with their logins
	browsertest.Play(t, browsertest.Scenario{
		File: "restart.mjs",
		Args: map[string]any{"url": front.url + "/console/", "password": secretWord},
		Answers: map[string]func(json.RawMessage) (any, error){
			"restart": func(json.RawMessage) (any, error) { b.world.Restart(0); return nil, nil },
			"replace": func(json.RawMessage) (any, error) {
				fresh, err := New(b.world, &b.Console.cfg)
				if err != nil {
					return nil, err
				}
				now.Store(fresh) // the one before has no time to tell its pages
				front.served.CloseClientConnections()
				return nil, nil
			},
		},
	})
}
