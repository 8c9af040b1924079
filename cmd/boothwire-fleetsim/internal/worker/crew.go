package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/parts"
)

// Argument is the only argument of a run of this program that is a worker.
const Argument = "worker"

// A Crew is the workers of a fleet.
type Crew struct {
	workers []*worker
	Debug   []string // address of each one's profiles, when the brief says so
}

// worker is one run of this program.
type worker struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	say  *json.Encoder
	keys chan map[string]string
	gone chan struct{}

	mu     sync.Mutex
	latest Figures
	err    error // after gone
}

// Hire starts n workers that share out the devices of a brief, and returns the
// identity keys of all; they can be profiled if that is asked for.
func Hire(ctx context.Context, n int, b Brief, profile bool) (*Crew, map[string]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	c, all := new(Crew), make(map[string]string, len(b.Devices))
	for i := range n {
		from, to := i*len(b.Devices)/n, (i+1)*len(b.Devices)/n
		mine := b
		mine.Devices, mine.First = b.Devices[from:to], b.First+from
		if profile {
			if mine.Profile, err = parts.FreeAddress(); err != nil {
				c.Close()
				return nil, nil, err
			}
			c.Debug = append(c.Debug, mine.Profile)
		}
		w, err := hire(self, mine)
		if err != nil {
			c.Close()
			return nil, nil, fmt.Errorf("worker %d: %w", i+1, err)
		}
		c.workers = append(c.workers, w)
	}
	for i, w := range c.workers {
		select {
		case keys := <-w.keys:
			for id, k := range keys {
				all[id] = k
			}
		case <-w.gone:
			c.Close()
			return nil, nil, fmt.Errorf("worker %d ended: %w", i+1, w.err)
		case <-ctx.Done():
			c.Close()
			return nil, nil, context.Cause(ctx)
		}
	}
	return c, all, nil
}

func hire(self string, b Brief) (*worker, error) {
	w := &worker{cmd: exec.Command(self, Argument), keys: make(chan map[string]string, 1), gone: make(chan struct{})}
	w.cmd.Stderr = os.Stderr
	parts.Apart(w.cmd)
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	go w.listen(out)
	w.say = json.NewEncoder(w.in)
	return w, w.say.Encode(b)
}

// listen takes what the worker says until it ends.
func (w *worker) listen(out io.Reader) {
	defer close(w.gone)
	for d := json.NewDecoder(out); ; {
		var said word
		if err := d.Decode(&said); err != nil {
			break
		}
		if said.Keys != nil {
			w.keys <- said.Keys
		}
		if said.Figures != nil {
			w.mu.Lock()
			w.latest = *said.Figures
			w.mu.Unlock()
		}
	}
	w.err = w.cmd.Wait()
	if w.err == nil {
		w.err = errors.New("it had nothing more to say")
	}
}

// Connect has all devices connect to the broker within d.
func (c *Crew) Connect(d time.Duration) error {
	for _, w := range c.workers {
		if err := w.say.Encode(order{Connect: d}); err != nil {
			return err
		}
	}
	return nil
}

// Figures are the sum of what all devices had seen a second ago at most.
func (c *Crew) Figures() Figures {
	var sum Figures
	for _, w := range c.workers {
		w.mu.Lock()
		sum.Add(w.latest)
		w.mu.Unlock()
	}
	return sum
}

// PIDs are the workers' process ids.
func (c *Crew) PIDs() []int {
	var all []int
	for _, w := range c.workers {
		all = append(all, w.cmd.Process.Pid)
	}
	return all
}

// Failed is an error when a worker has ended by itself.
func (c *Crew) Failed() error {
	var errs []error
	for i, w := range c.workers {
		select {
		case <-w.gone:
			errs = append(errs, fmt.Errorf("worker %d ended: %w", i+1, w.err))
		default:
		}
	}
	return errors.Join(errs...)
}

// closeFor is how long a worker may take to take its sessions down.
const closeFor = 30 * time.Second

// Close ends all workers: their devices say goodbye.
func (c *Crew) Close() {
	for _, w := range c.workers {
		w.in.Close()
	}
	for _, w := range c.workers {
		select {
		case <-w.gone:
		case <-time.After(closeFor):
			w.cmd.Process.Kill()
			<-w.gone
		}
	}
}
