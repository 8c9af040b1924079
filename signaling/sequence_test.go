package signaling

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// FuzzSequence throws commands of three sessions at a machine, in any order,
// repeated, retained and bare, with a Handler that returns whenever it likes,
// and checks what must hold whatever comes.
func FuzzSequence(f *testing.F) {
	f.Add([]byte{0, 16, 1, 17, 2, 18})
	f.Add([]byte{4, 0, 8, 4, 12, 13, 14, 3, 7, 11})
	f.Add([]byte("the quick brown fox jumps over the lazy dog"))
	f.Add([]byte{10, 12, 9, 11, 13, 10, 12, 9, 13})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 400 {
			ops = ops[:400]
		}
		c := &checker{t: t, x: newRig(&Config{Bare: []string{"wg"}}), over: make(map[string]bool)}
		for i, op := range ops {
			c.step(i, op)
		}
		c.finish()
	})
}

// checker follows what a machine does.
type checker struct {
	t       *testing.T
	x       *rig
	running bool
	bare    bool            // a bare up began what runs
	over    map[string]bool // sessions that must not open any more
	session string          // that runs; empty: not known yet
	stopped bool            // it was told to end
	keyed   bool            // its grant was accepted
	nonces  int
	nonce   string
}

func (c *checker) step(i int, op byte) {
	x := c.x
	session := fmt.Sprintf("s%d", op/16%3)
	id := fmt.Sprintf("c%d", i)
	rev := 1 + int(op/64)
	var bareDown bool
	switch op % 16 {
	case 0:
		x.up(id, session, rev)
	case 1:
		x.cmd(id, Up, grantFor(session, rev, `,"other":1`))
	case 2, 3:
		x.down(id, session)
		c.over[session] = true
	case 4:
		c.retained(session)
	case 5:
		x.cmd(id, Ask, "bw-ask:{}")
	case 6:
		x.cmd(id, Up, "forged:{}")
	case 7:
		x.up(id, session, rev)
		x.up(id, session, rev)
	case 8:
		x.bare(id, Up, "wg")
	case 9:
		x.bare(id, Down, "")
		bareDown = true
	case 10:
		if c.running {
			c.nonces++
			c.nonce = fmt.Sprintf("n%d", c.nonces)
			x.m.request(x.now, x.n, c.nonce, []byte("r"))
			x.note()
		}
	case 11:
		x.cmd(id, Up, grantFor(session, rev, fmt.Sprintf(`,"re":"n%d"`, c.nonces)))
	case 12:
		st := []Stage{Keyed, Proved, Ready}[op/16%3]
		c.keyed = c.keyed || c.running && !c.stopped && st == Keyed
		x.reach(st)
	case 13:
		if c.running {
			c.check(false) // what came before it returned
			err := []error{nil, code("no_driver"), code("unknown_prekey")}[op/16%3]
			door := err == code("unknown_prekey") && !c.keyed // it may come again
			if !c.stopped && c.session != "" && !door {
				c.over[c.session] = true
			}
			c.running, c.session, c.stopped, c.keyed = false, "", false, false
			x.returned(err)
		}
	case 14:
		x.line(op/16%2 == 0)
	case 15:
		x.wait(time.Duration(op) * 100 * time.Millisecond)
	}
	c.check(bareDown)
	x.wait(200 * time.Millisecond) // the bucket lets every step through
}

// retained must change nothing.
func (c *checker) retained(session string) {
	before := len(c.x.log)
	c.x.raw(`{"action":"vpn_up","token":"x"}`, true)
	c.x.raw(`{"action":"vpn_up","server":"wg"}`, true)
	c.x.raw(fmt.Sprintf(`{"action":"vpn_down","session":%q}`, session), true)
	for _, l := range c.x.log[before:] {
		if !strings.HasPrefix(l, "notice refused") && !strings.HasPrefix(l, "refuse") {
			c.t.Fatalf("a retained command: %s", l)
		}
	}
}

// check reads what the machine did since the last call.
func (c *checker) check(bareDown bool) {
	log := c.x.log
	c.x.log = nil
	for _, l := range log {
		w := strings.Fields(l)
		switch {
		case w[0] == "start" || strings.HasPrefix(l, "bare start"):
			if c.running {
				c.t.Fatalf("two sessions at once: %v", log)
			}
			c.running, c.bare, c.stopped, c.session = true, w[0] == "bare", false, ""
			if !c.bare {
				c.session = w[1]
			}
			if c.over[c.session] {
				c.t.Fatalf("%s opens after its down: %v", c.session, log)
			}
		case w[0] == "answer" && w[len(w)-1] == "granted":
			if !c.running || c.stopped {
				c.t.Fatalf("a grant for nothing: %v", log)
			}
			if c.session == "" {
				c.session = w[2]
			}
			if c.over[c.session] || c.session != w[2] {
				c.t.Fatalf("%s opens after its down: %v", w[2], log)
			}
		case w[0] == "grant" && (!c.running || c.stopped):
			c.t.Fatalf("a later rev for nothing: %v", log)
		case w[0] == "stop":
			if !c.running || c.stopped {
				c.t.Fatalf("stopped twice: %v", log)
			}
			if bareDown && !c.bare {
				c.t.Fatalf("a bare down ended a signed session: %v", log)
			}
			c.stopped = true
			c.over[c.session] = c.session != ""
		case w[0] == "end":
			c.over[w[1]] = true
		}
	}
}

// finish ends everything and looks at what is left.
func (c *checker) finish() {
	x := c.x
	x.m.stop(x.now, code("bye"))
	x.note()
	for range 3 {
		if x.m.cur != nil {
			x.returned(nil)
		}
	}
	if x.m.cur != nil || x.m.wait != nil {
		c.t.Fatal("something is left open")
	}
	x.m.farewell(x.now)
	x.log = nil
	x.note()
	if x.m.up && !strings.Contains(strings.Join(x.log, "\n"), "doc ") {
		c.t.Fatalf("no farewell: %v", x.log)
	}
	if n := len(x.m.over.list) + len(x.m.dead.list); n > 1000 || len(x.m.tallies) > maxTallies {
		c.t.Fatalf("%d things remembered", n)
	}
}
