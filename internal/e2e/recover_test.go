//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
)

// outage is how long something is away here: shorter than a soak's, which is what the
// stated outcomes are stated for.
func outage(soak time.Duration) time.Duration {
	if os.Getenv("BOOTHWIRE_SOAK") == "1" {
		return soak
	}
	return soak / 10
}

// TestRecovery holds one ssh connection while the parts around it are killed, stopped
// and started again: it goes on, and nobody connects again.
func TestRecovery(t *testing.T) {
	t.Parallel() // it waits, most of the time
	w := newWorld(t, options{lines: []string{"mqtts"}})
	k := w.talk()
	id := w.one().ID
	step := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			w.t = t
			f(t)
		})
		if t.Failed() {
			t.FailNow()
		}
	}
	flows := func(what string) {
		w.t.Helper()
		w.t.Logf("packets flow again %v after %s", k.say(patience).Round(time.Millisecond), what)
	}
	step("the node is killed, twice, while control is silent", func(t *testing.T) {
		thaw := freeze(w.control)
		defer thaw()
		for range 2 {
			from := w.gateway.log.len()
			w.gateway.kill()
			w.gateway.run()
			flows("the node was killed and started")
			if log := w.gateway.log.since(from); strings.Contains(log, "control is there") {
				t.Errorf("control spoke: %s", log)
			}
		}
	})
	step("the node is killed and control is there", func(t *testing.T) {
		w.gateway.kill()
		w.gateway.run()
		flows("the node was killed and started")
		w.stays(id)
	})
	step("the node is killed and away for a while", func(t *testing.T) {
		w.gateway.kill()
		time.Sleep(outage(60 * time.Second))
		w.gateway.run()
		flows("the node was started again")
		w.stays(id)
	})
	step("the node is stopped for a while", func(t *testing.T) {
		thaw := freeze(w.gateway)
		time.Sleep(outage(20 * time.Second))
		thaw()
		flows("the node went on")
		w.stays(id)
	})
	step("control is killed and started", func(t *testing.T) {
		w.control.kill()
		k.say(patience)
		w.control.run()
		k.say(patience)
		w.stays(id)
	})
	step("the broker is stopped for a while", func(t *testing.T) {
		thaw := freeze(w.mosquitto)
		for end := time.Now().Add(outage(60 * time.Second)); time.Now().Before(end); time.Sleep(time.Second) {
			k.say(patience)
		}
		thaw()
		k.say(patience)
		w.stays(id)
	})
	step("it is closed while the broker is away", func(t *testing.T) {
		from := w.gateway.log.len()
		thaw := freeze(w.mosquitto)
		closes := start(t, w.operator, program(t, "boothctl"), w.ctlArgs("close", id)[1:]...)
		w.gateway.waitLog(from, `"closed"`)
		if all := w.sessions("--all"); len(all) != 1 || all[0].State != "closing" {
			t.Errorf("without the device's word: %+v", all)
		}
		thaw()
		w.closes(id)
		if err := <-closes.gone; err != nil {
			t.Errorf("boothctl close: %v", err)
		}
	})
	step("another opens while the broker is away", func(t *testing.T) {
		thaw := freeze(w.mosquitto)
		connect := start(t, w.operator, program(t, "boothctl"), w.ctlArgs("connect", kiosk)[1:]...)
		time.Sleep(2 * time.Second)
		thaw()
		connect.waitLog(0, "reachable")
		connect.stop()
	})
}

// page fetches a page on a host.
func page(h *netlab.Host, url string) (text string, err error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, address string) (c net.Conn, err error) {
		dial := func() error {
			c, err = net.Dial(network, address)
			return err
		}
		return c, h.Do(dial)
	}}}
	r, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

// stays checks that control has its session as it was, or comes to have.
func (w *world) stays(id string) {
	w.t.Helper()
	eventually(w.t, "control has the session", func() error {
		out, err := w.tryCtl("sessions", "--json")
		if err != nil {
			return err
		}
		var all []session
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			return err
		}
		if len(all) != 1 || all[0].ID != id || all[0].State != "connected" {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
}

// closes waits until control has a session for closed.
func (w *world) closes(id string) {
	w.t.Helper()
	eventually(w.t, "the session is closed", func() error {
		for _, s := range w.sessions("--all") {
			if s.ID == id && s.State == "closed" {
				return nil
			}
		}
		return fmt.Errorf("%+v", w.sessions("--all"))
	})
}

// TestRestartedNodeEndsSessions kills the node of a session that nobody else can end,
// and starts it again: it ends the session at its time by its own clock.
func TestRestartedNodeEndsSessions(t *testing.T) {
	t.Parallel() // it waits, most of the time
	w := newWorld(t, options{})
	connect := start(t, w.operator, program(t, "boothctl"), w.ctlArgs("connect", kiosk, "--for", "30s")[1:]...)
	connect.waitLog(0, "reachable")
	thaw := freeze(w.agent, w.control, connect)
	defer thaw()
	from := w.gateway.log.len()
	w.gateway.kill()
	w.gateway.run()
	w.gateway.waitLog(from, "sessions found again")
	w.gateway.waitLog(from, `"expired"`)
	// It stays over.
	from = w.gateway.log.len()
	w.gateway.kill()
	w.gateway.run()
	w.gateway.waitLog(from, "node is up")
	if log := w.gateway.log.since(from); strings.Contains(log, `"in force":1`) {
		t.Errorf("it is back: %s", log)
	}
}

// TestFullDisk lets the disk of the node's journal run full: sessions open and close
// all the same, the node says what is missing, and nothing that ended comes back.
func TestFullDisk(t *testing.T) {
	w := newWorld(t, options{})
	dir := filepath.Join(w.dir, "small")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const listen = "127.0.0.1:9167"
	w.write(w.gatewayConfig, fmt.Sprintf("journal = %q\nmetrics = %q\n", filepath.Join(dir, "journal"), listen)+w.read(w.gatewayConfig))
	w.gateway.stop()
	// The small disk is mounted in a mount namespace of the node's own.
	direct := w.gateway.args
	w.gateway.args = []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"`, dir}
	w.gateway.args = append(w.gateway.args, direct...)
	from := w.gateway.log.len()
	w.gateway.run()
	w.gateway.waitLog(from, "control is there")
	inside := func(name string) string {
		return filepath.Join("/proc", fmt.Sprint(w.gateway.pid()), "root", dir, name)
	}
	ready := func(want bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("limited is %t", want), func() error {
			out, err := page(w.nodeHost, "http://"+listen+"/readyz")
			if err != nil {
				return err
			}
			if !strings.Contains(out, `"ready":true`) || strings.Contains(out, `"journal"`) != want {
				return errors.New(out)
			}
			return nil
		})
	}
	k := w.talk()
	id := w.one().ID
	ready(false)
	fill := inside("fill")
	if err := os.WriteFile(fill, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not small")
	}
	from = w.gateway.log.len()
	const behind = "the journal is kept in memory only"
	for !strings.Contains(w.gateway.log.since(from), behind) { // the file's last page has room for some
		k.in.Close()
		w.ctl("close", id)
		w.closes(id)
		k = w.talk() // another session opens
		id = w.one().ID
	}
	ready(true)
	k.in.Close()
	w.ctl("close", id)
	w.closes(id)
	k = w.talk()
	last := w.one().ID
	b, err := os.ReadFile(inside("journal"))
	if err != nil {
		t.Fatal(err)
	}
	// What a node would know that began now: of each session the last line counts.
	granted := make(map[string]bool)
	for line := range strings.Lines(string(b)) {
		if f := strings.SplitN(line, " ", 3); len(f) == 3 && !strings.HasPrefix(line, "#") {
			granted[f[1]] = strings.Contains(f[2], `"grant"`)
		}
	}
	for session, in := range granted {
		if in {
			t.Errorf("session %s is over, and would be back", session)
		}
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	w.gateway.waitLog(from, "the journal is written again")
	ready(false)
	if b, err = os.ReadFile(inside("journal")); err != nil || !strings.Contains(string(b), last) {
		t.Errorf("the session is not in the journal, %v", err)
	}
	k.say(patience)
}
