//go:build linux

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/signaling"
)

// A cell is what a pair came to. Times count from the wake: from when control sent
// the device its first message of the session, on the clock that all hosts of a lab
// share.
type cell struct {
	First  time.Duration // until the operator had the first bytes back
	Direct time.Duration // until he had bytes back while both ends' path was direct; 0: it never was
	Pair   string        // of the direct path's candidates, or why there is none
	Log    string        // boothctl's, with the ladder
}

// What a cell should come to, and what fails the test: a machine that is busy with
// something else is no reason to.
const (
	firstBar  = time.Second
	directBar = 3 * time.Second
	lateMost  = patience
)

func (c cell) late() bool { return c.First > firstBar || c.Direct > directBar }

// paths are those of both ends.
type paths struct{ device, operator string }

// A meeting is one use of boothctl from an operator's site.
type meeting struct {
	w        *natWorld
	api      *client.Client
	device   string
	operator *netlab.Site
	args     []string // of boothctl proxy
	want     paths
	final    string // that the operator's log has when no other path can come; "": none has to
	room     chan struct{}
}

// run connects, sees that bytes cross both ways and that both ends come to the path
// that they should, and takes leave. It takes up room until nothing is left but to
// wait for what does not come.
func (m *meeting) run(ctx context.Context) (c cell, err error) {
	if err := m.awaitDevice(ctx); err != nil {
		return c, err
	}
	m.room <- struct{}{}
	connected := sync.OnceFunc(func() { <-m.room })
	defer connected()
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	p, err := m.dial(ctx)
	if err != nil {
		return c, err
	}
	defer func() {
		if e := p.close(); err == nil {
			err = e
		}
		if err != nil {
			err = fmt.Errorf("%w\nboothctl says:\n%s", err, p.log.tail(6000))
		}
	}()
	first, err := p.echo(ctx)
	if err != nil {
		return c, err
	}
	wake, session, err := m.woken(ctx)
	if err != nil {
		return c, err
	}
	c.First = first.Sub(wake)
	if m.want == (paths{"direct", "direct"}) {
		if err := m.settled(ctx, p, session); err != nil {
			return c, err
		}
		direct, err := p.echo(ctx)
		if err != nil {
			return c, err
		}
		c.Direct = direct.Sub(wake)
		connected()
	} else {
		connected()
		if err := p.waitLog(ctx, m.final); err != nil {
			return c, err
		}
		if err := m.settled(ctx, p, session); err != nil {
			return c, err
		}
		if _, err := p.echo(ctx); err != nil {
			return c, err
		}
	}
	c.Pair, c.Log = p.why(), p.log.tail(6000)
	if max(c.First, c.Direct) > lateMost {
		return c, fmt.Errorf("it took %v, and %v to a direct path", c.First, c.Direct)
	}
	return c, nil
}

// awaitDevice waits until the device waits for a wake.
func (m *meeting) awaitDevice(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return poll(ctx, func() error {
		d, err := m.api.Device(ctx, m.device)
		switch {
		case err != nil:
			return err
		case d.Online != client.Online || d.Prekeys == 0 || d.Session != "" || d.State != signaling.Disconnected:
			return fmt.Errorf("%s: %+v", m.device, d)
		}
		return nil
	})
}

// woken is when the device was woken for its open session. That it is ready comes to
// control by another way than the first bytes to the operator.
func (m *meeting) woken(ctx context.Context) (at time.Time, session string, err error) {
	err = poll(ctx, func() error {
		d, err := m.api.Device(ctx, m.device)
		if err != nil {
			return err
		}
		s, err := m.api.Session(ctx, d.Session)
		if err != nil {
			return err
		}
		began, ok := find(s.Ladder, client.ByControl, "asked")
		if !ok {
			began, ok = find(s.Ladder, client.ByControl, "woken")
		}
		if _, ready := find(s.Ladder, client.ByDevice, signaling.Ready); !ok || !ready {
			return fmt.Errorf("the session's ladder lacks steps: %+v", s.Ladder)
		}
		at, session = s.Opened.Add(began), s.ID
		return nil
	})
	return at, session, err
}

// settled waits until both ends go by the path that they should.
func (m *meeting) settled(ctx context.Context, p *proxy, session string) error {
	return poll(ctx, func() error {
		s, err := m.api.Session(ctx, session)
		if err != nil {
			return err
		}
		if s.State.Final() {
			return fmt.Errorf("the session is over: %+v", s)
		}
		if got := (paths{s.Path, p.path()}); got != m.want {
			return fmt.Errorf("the paths are %+v, want %+v; %s", got, m.want, s.Why)
		}
		return nil
	})
}

// poll tries until it works, and returns the last error when ctx ends.
func poll(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(25 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// A proxy is a running boothctl proxy.
type proxy struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	log  *logBuffer
	said int
}

// dial starts boothctl; nothing is heard of it before its first echo.
func (m *meeting) dial(ctx context.Context) (*proxy, error) {
	args := append(append([]string{"proxy", "--verbose"}, m.args...), m.device, "22")
	p := &proxy{cmd: m.operator.Host.Command(ctx, program(m.w.t, "boothctl"), args...), log: new(logBuffer)}
	control := addrControl
	if m.operator.Kind == netlab.OnlyIPv6 {
		control = "[" + addrControl6 + "]"
	}
	p.cmd.Env = append(os.Environ(), "BOOTHWIRE_URL=https://"+control, "BOOTHWIRE_TOKEN="+m.w.token, "BOOTHWIRE_CA="+m.w.ca.File)
	p.cmd.Env = append(p.cmd.Env, proxyOf(m.operator)...)
	p.cmd.Stderr = p.log
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// echo says a line and returns when it came back.
func (p *proxy) echo(ctx context.Context) (at time.Time, err error) {
	p.said++
	line := fmt.Sprintf("line %d\n", p.said)
	if _, err := io.WriteString(p.in, line); err != nil {
		return at, err
	}
	came := make(chan error, 1)
	go func() {
		got, err := p.out.ReadString('\n')
		at = time.Now()
		if err == nil && got != line {
			err = fmt.Errorf("%q came back for %q", got, line)
		}
		came <- err
	}()
	select {
	case err = <-came:
		return at, err
	case <-ctx.Done():
		return time.Time{}, errors.New("no echo")
	}
}

// close ends it as ssh does, and waits until it has taken leave.
func (p *proxy) close() error {
	p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("boothctl: %w", err)
	}
	return nil
}

// Lines of boothctl's log.
var (
	pathLine = regexp.MustCompile(`"event": "path", "path": "(\w+)"`)
	pairLine = regexp.MustCompile(`direct path.*"pair": "([^"]*)"`)
	noneLine = regexp.MustCompile(`nat: [^"\\]*`)
)

// path is the operator's, by the log.
func (p *proxy) path() string { return last(pathLine, p.log.String(), 1) }

// why is the pair of a direct path, or why there is none.
func (p *proxy) why() string {
	if text := last(pairLine, p.log.String(), 1); text != "" {
		return text
	}
	return last(noneLine, p.log.String(), 0)
}

func last(re *regexp.Regexp, text string, group int) string {
	all := re.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][group]
}

func (p *proxy) waitLog(ctx context.Context, text string) error {
	return poll(ctx, func() error {
		if strings.Contains(p.log.String(), text) {
			return nil
		}
		return fmt.Errorf("boothctl does not say %q", text)
	})
}
