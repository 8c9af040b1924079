// Package terminal shows how far a run is: on a terminal one line that moves, elsewhere
// a plain line now and then.
package terminal

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// A Terminal shows progress on a file. It is safe for concurrent use.
type Terminal struct {
	out   *os.File
	moves bool // it is a terminal
	began time.Time

	mu   sync.Mutex
	line bool // the line that moves is on the screen
}

// New shows progress on out.
func New(out *os.File) *Terminal {
	info, err := out.Stat()
	return &Terminal{out: out, moves: err == nil && info.Mode()&os.ModeCharDevice != 0, began: time.Now()}
}

// clear takes the line that moves away.
const clear = "\r\x1b[K"

// Step says that a step begins.
func (t *Terminal) Step(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wipe()
	fmt.Fprintf(t.out, "%s  %s\n", t.clock(), text)
}

// Now shows text again and again until the returned func is called, which leaves the
// last one on the screen.
func (t *Terminal) Now(text func() string) func() {
	every := 200 * time.Millisecond
	if !t.moves {
		every = 5 * time.Second
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				t.show(text())
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
		t.Step("  " + text())
	}
}

func (t *Terminal) show(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.moves {
		fmt.Fprintf(t.out, "%s    %s\n", t.clock(), text)
		return
	}
	fmt.Fprintf(t.out, "%s%s    %.66s", clear, t.clock(), text) // a line that wraps does not move
	t.line = true
}

// Close leaves the cursor at the beginning of a line.
func (t *Terminal) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wipe()
}

func (t *Terminal) wipe() {
	if t.line {
		fmt.Fprint(t.out, clear)
		t.line = false
	}
}

func (t *Terminal) clock() string { return fmt.Sprintf("%6.1f s", time.Since(t.began).Seconds()) }
