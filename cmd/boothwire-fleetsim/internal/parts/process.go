package parts

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Process is one part as a child of this process. Its output goes to a file.
type Process struct {
	Name string // "control", "broker", the name of a node
	args []string
	log  string // file
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
	err  error         // after gone
}

// run starts a program whose output goes to NAME.log in dir.
func run(dir, name string, args ...string) (*Process, error) {
	p := &Process{Name: name, args: args, log: filepath.Join(dir, name+".log")}
	return p, p.start()
}

func (p *Process) start() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	Apart(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	gone, cmd := make(chan struct{}), p.cmd
	p.gone = gone
	go func() {
		p.err = cmd.Wait()
		close(gone)
	}()
	return nil
}

// PID is the process id of the present run.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Gone is closed when the present run has ended.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Kill ends it as a loss of power would, and waits until it is gone.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.gone
}

// stopFor is how long a part may take to end when it is asked to: a node with ten
// thousand peers gets as long as it may take at most.
const stopFor = 30 * time.Second

// Stop asks it to end, and kills it when it does not.
func (p *Process) Stop() {
	select {
	case <-p.gone:
		return
	default:
	}
	if p.cmd.Process.Signal(syscall.SIGTERM) != nil {
		p.cmd.Process.Kill()
	}
	select {
	case <-p.gone:
	case <-time.After(stopFor):
		p.Kill()
	}
}

// tail is the end of what it has logged.
func (p *Process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// startFor is how long a part may take until it serves.
const startFor = 60 * time.Second

// await polls ready until it reports true; it fails when the part ends or ctx does.
func (p *Process) await(ctx context.Context, ready func() bool) error {
	end := time.NewTimer(startFor)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.gone:
			return fmt.Errorf("%s ended: %w\n%s", p.Name, p.err, p.tail())
		case <-end.C:
			return fmt.Errorf("%s does not serve after %v\n%s", p.Name, startFor, p.tail())
		case <-tick.C:
		}
	}
	return nil
}

// said returns a field of the first line of its log with that message.
func (p *Process) said(message, field string) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(text) {
		var l map[string]any
		if json.Unmarshal(line, &l) == nil && l["msg"] == message {
			s, _ := l[field].(string)
			return s
		}
	}
	return ""
}

// output runs a program to its end and returns what it prints.
func output(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(args[0]), err, errOut.String())
	}
	return strings.TrimSpace(out.String()), nil
}
