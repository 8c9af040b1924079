//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/boothwire/boothwire/internal/netlab"
)

const (
	addrNode2 = "203.0.113.31"
	node2     = "wg-bj-02"
)

// TestNodes holds an ssh connection while its session goes from one node to the other,
// because a node drains and because one stops: no byte is lost, and nobody connects
// again. The node that had stopped comes back with the session and lets go of it.
func TestNodes(t *testing.T) {
	t.Parallel() // it waits, most of the time
	var host *netlab.Host
	o := options{lines: []string{"mqtts"}, network: func(w *world) { host = layNodes(w) }}
	w := prepare(t, o)
	second, _ := w.addNode(node2, host, addrNode2+":51820")
	programs := map[string]*process{node: w.gateway, node2: second}
	other := map[string]string{node: node2, node2: node}
	w.startAgent(o)
	w.waitOnline()
	c := w.call()
	told := w.listen()
	for range 2 {
		from := w.one().Node
		c.through("the node drains", func() string {
			w.ctl("nodes", "drain", from, "--move")
			w.moved(from, other[from])
			return "at " + other[from]
		})
		w.ctl("nodes", "undrain", from)
		told.hear()
	}
	from := w.one().Node
	log := programs[from].log.len()
	thaw := func() {}
	defer func() { thaw() }()
	c.through("the node stops", func() string {
		thaw = freeze(programs[from])
		w.moved(from, other[from])
		return "at " + other[from]
	})
	thaw()
	programs[from].waitLog(log, `"moved"`)
	eventually(t, "it is back", func() error {
		for _, n := range w.nodes() {
			if n.Name == from && n.State != "connected" || n.Name != from && n.Sessions != 1 {
				return fmt.Errorf("%+v", n)
			}
		}
		return nil
	})
	c.hear()
	told.hear()
	told.hangUp()
	eventually(t, "the session is as it was, at the other node", func() error { // packets flow before control is told
		if s := w.one(); s.Node != other[from] || s.State != "connected" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	c.hangUp()
}

// A monologue is an ssh connection in which only the kiosk speaks: a line each
// countEvery, and the engineer's end has nothing to say but acknowledgements.
type monologue struct {
	w     *world
	cmd   *exec.Cmd
	lines atomic.Int64
	over  chan struct{}
}

func (w *world) listen() *monologue {
	w.t.Helper()
	m := &monologue{w: w, over: make(chan struct{})}
	line := append(w.sshArgs(), "-n", "-o", "ServerAliveInterval=0", "root@"+kiosk,
		fmt.Sprintf("while :; do echo tick; sleep %.2f; done", countEvery.Seconds()))
	line[3] = "ProxyCommand=" + strings.Join(w.ctlArgs("proxy", "%h", "%p"), " ")
	m.cmd = w.operator.Command(w.t.Context(), "ssh", line...)
	out := must(m.cmd.StdoutPipe())
	if err := m.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(m.over)
		for s := bufio.NewScanner(out); s.Scan(); {
			m.lines.Add(1)
		}
		_ = m.cmd.Wait()
	}()
	w.t.Cleanup(m.hangUp)
	m.hear()
	return m
}

// hear waits for more.
func (m *monologue) hear() {
	m.w.t.Helper()
	had := m.lines.Load()
	eventually(m.w.t, "the kiosk goes on speaking", func() error {
		if now := m.lines.Load(); now <= had {
			return fmt.Errorf("%d lines, and no more", now)
		}
		return nil
	})
}

func (m *monologue) hangUp() {
	m.cmd.Process.Kill()
	<-m.over
}

// moved waits until the session is at a node, and nothing of it at the one before.
func (w *world) moved(from, to string) {
	w.t.Helper()
	eventually(w.t, "the session is at "+to, func() error {
		if s := w.one(); s.Node != to || s.Moving {
			return fmt.Errorf("%+v", s)
		}
		for _, n := range w.nodes() {
			if n.Name == from && n.Sessions+n.Leaving != 0 {
				return fmt.Errorf("%+v", n)
			}
		}
		return nil
	})
}

// layNodes lays the ordinary network with a further host, which it returns.
func layNodes(w *world) *netlab.Host {
	l := w.lab
	internet := l.Switch("internet")
	var second *netlab.Host
	for _, h := range []struct {
		host **netlab.Host
		name string
		addr string
	}{
		{&w.controlHost, "control", addrControl}, {&w.broker, "broker", addrBroker}, {&w.nodeHost, "node", addrNode},
		{&second, "node2", addrNode2}, {&w.operator, "operator", addrOperator},
	} {
		*h.host = l.Host(h.name)
		l.Link(*h.host, h.addr+"/24", internet, "")
	}
	site := l.Site("kiosk", netlab.PortRestricted, internet, 1, netlab.SiteConfig{})
	w.kiosk, w.shop = site.Host, site.Router
	l.Start()
	return second
}
