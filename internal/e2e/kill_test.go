//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// A talk is one ssh connection that echoes lines: it shows whether packets flow.
type talk struct {
	w    *world
	p    *process
	in   io.WriteCloser
	line chan string
	n    int
}

func (w *world) talk() *talk {
	w.t.Helper()
	k := &talk{w: w, line: make(chan string, 64)}
	r, wr, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	k.in = wr
	cmd := w.operator.Command(w.t.Context(), "ssh", w.sshArgs("-o", "ServerAliveInterval=0", "root@"+kiosk, "while read l; do echo got $l; done")...)
	stderr := new(logBuffer)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, outW, stderr
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	r.Close()
	outW.Close()
	go func() {
		defer close(k.line)
		for s := bufio.NewScanner(outR); s.Scan(); {
			k.line <- s.Text()
		}
	}()
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	w.t.Cleanup(func() {
		wr.Close()
		cmd.Process.Kill()
		<-gone
		outR.Close()
		if w.t.Failed() {
			w.t.Logf("ssh says: %s", stderr.tail(4000))
		}
	})
	k.say(patience)
	return k
}

// say sends a line and waits for its echo; it returns how long that took.
func (k *talk) say(within time.Duration) time.Duration {
	k.w.t.Helper()
	k.n++
	began := time.Now()
	fmt.Fprintf(k.in, "%d\n", k.n)
	want := fmt.Sprintf("got %d", k.n)
	for {
		select {
		case l, ok := <-k.line:
			if !ok {
				k.w.t.Fatalf("the connection broke before %q", want)
			}
			if l == want {
				return time.Since(began)
			}
		case <-time.After(within):
			k.w.t.Fatalf("no echo within %v", within)
		}
	}
}

// A session as boothctl prints it.
type session struct {
	ID, Device, Node, State, Code string
	Rev                           int
	Moving                        bool
}

func (w *world) sessions(args ...string) []session {
	w.t.Helper()
	var all []session
	if err := json.Unmarshal([]byte(w.ctl(append([]string{"sessions", "--json"}, args...)...)), &all); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// one is the only open session.
func (w *world) one() session {
	w.t.Helper()
	all := w.sessions()
	if len(all) != 1 {
		w.t.Fatalf("open sessions: %+v", all)
	}
	return all[0]
}

func TestKillAgent(t *testing.T) {
	w := newWorld(t, options{})
	w.talk()
	id := w.one().ID
	w.agent.kill()
	w.agent.run()
	eventually(t, "control closes the session of the boot before", func() error {
		for _, s := range w.sessions("--all") {
			if s.ID == id && s.Code == "rebooted" {
				return nil
			}
		}
		return fmt.Errorf("%+v", w.sessions("--all"))
	})
	w.over()
	if got := w.ssh("echo", "again"); !strings.Contains(got, "again") {
		t.Errorf("the next session: %q", got)
	}
}

func TestKillControl(t *testing.T) {
	w := newWorld(t, options{})
	k := w.talk()
	id := w.one().ID
	w.control.kill()
	k.say(patience)
	w.control.run()
	eventually(t, "control finds its session again", func() error {
		out, err := w.tryCtl("sessions", "--json")
		if err != nil {
			return err
		}
		if !strings.Contains(out, id) || !strings.Contains(out, `"connected"`) {
			return errors.New(out)
		}
		return nil
	})
	k.say(patience)
	w.waitOnline()
	w.ctl("close", id)
	w.over()
}

func TestKillBroker(t *testing.T) {
	w := newWorld(t, options{lines: []string{"mqtts"}})
	k := w.talk()
	w.mosquitto.kill()
	k.say(patience)
	began := time.Now()
	w.mosquitto.run()
	k.say(patience)
	eventually(t, "signalling is back", func() error {
		var d struct {
			LastSeen time.Time `json:"last_seen"`
		}
		if err := json.Unmarshal([]byte(w.ctl("devices", "show", kiosk, "--json")), &d); err != nil {
			return err
		}
		if d.LastSeen.Before(began) {
			return fmt.Errorf("the kiosk was last heard of at %v", d.LastSeen)
		}
		return nil
	})
	t.Logf("signalling is back %v after the broker's restart", time.Since(began).Round(time.Millisecond))
	k.say(patience)
	k.in.Close()
	w.over()
}

// TestEndWithoutAnybody stops device, control and engineer: the node ends the
// session at its time by its own clock.
func TestEndWithoutAnybody(t *testing.T) {
	t.Parallel() // it waits, most of the time
	w := newWorld(t, options{})
	from := w.gateway.log.len()
	connect := start(t, w.operator, program(t, "boothctl"), w.ctlArgs("connect", kiosk, "--for", "30s")[1:]...)
	connect.waitLog(0, "reachable")
	thaw := freeze(w.agent, w.control, connect)
	defer thaw()
	w.gateway.waitLog(from, `"expired"`)
}
