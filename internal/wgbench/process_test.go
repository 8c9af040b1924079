//go:build linux

package wgbench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/boothwire/boothwire/internal/netlab"
)

// A process is one role at work inside a namespace.
type process struct {
	kind string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	err  strings.Builder
}

// spawn starts r on h and waits until it is ready. The whole process lives in the
// namespace, because WireGuard opens its sockets again on threads of its choice.
func spawn(ctx context.Context, h *netlab.Host, r role) (*process, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{kind: r.Kind, cmd: h.Command(ctx, self)}
	p.cmd.Env = append(os.Environ(), roleEnv+"="+string(text))
	p.cmd.Stderr = &p.err
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if line, err := p.out.ReadString('\n'); err != nil || line != "ready\n" {
		p.stop()
		return nil, fmt.Errorf("wgbench: %s on %s is not ready: %q, %v: %s", r.Kind, h.Name, line, err, p.err.String())
	}
	return p, nil
}

// report asks for what the process has used and passed so far.
func (p *process) report() (r report, err error) {
	if _, err = fmt.Fprintln(p.in); err != nil {
		return r, err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return r, fmt.Errorf("%w: %s", err, p.err.String())
	}
	return r, json.Unmarshal(line, &r)
}

// stop ends the process, which takes its devices along.
func (p *process) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}
