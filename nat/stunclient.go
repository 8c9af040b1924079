package nat

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/boothwire/boothwire/nat/internal/stun"
)

var errNoAnswer = errors.New("no answer")

// A stunClient asks servers from a socket that it reads alone.
type stunClient struct {
	sock    packetSock
	readers sync.WaitGroup
	done    chan struct{} // closed when the socket is not read any more, with err
	err     error

	mu    sync.Mutex
	waits map[stun.ID]chan<- heard
}

// heard is a message with an ID that somebody waits for.
type heard struct {
	msg  stun.Message
	from netip.AddrPort
	at   time.Time
}

func newSTUNClient(sock packetSock) *stunClient {
	c := &stunClient{sock: sock, done: make(chan struct{}), waits: make(map[stun.ID]chan<- heard)}
	sock.restore()
	c.readers.Go(func() {
		c.err = sock.receive(c.hear)
		close(c.done)
	})
	return c
}

// close stops reading, and leaves the socket without a read deadline.
func (c *stunClient) close() {
	c.sock.unblock()
	c.readers.Wait()
	c.sock.restore()
}

func (c *stunClient) hear(b []byte, from netip.AddrPort) {
	at := time.Now()
	msg, err := stun.Parse(b)
	if err != nil {
		return
	}
	c.mu.Lock()
	wait := c.waits[msg.ID]
	c.mu.Unlock()
	if wait == nil {
		return
	}
	msg, _ = stun.Parse(slices.Clone(b)) // b is the reader's
	select {
	case wait <- heard{msg, from, at}:
	default: // a flood of one ID
	}
}

// schedule is when a request is repeated, and how long its last one is waited for:
// as RFC 8489, section 6.2.1, with Rc 4 and Rm 4 instead of 7 and 16, because what
// is slower than that is of no use to a path. It ends after 11 times rto.
func schedule(rto time.Duration) []time.Duration {
	return []time.Duration{rto, 2 * rto, 4 * rto, 4 * rto}
}

const (
	// rtoFirst is half of the RFC's, for servers never heard before.
	rtoFirst = 250 * time.Millisecond
	rtoLeast = 100 * time.Millisecond
)

// rtoAfter is for a server that is rtt away.
func rtoAfter(rtt time.Duration) time.Duration { return min(max(2*rtt, rtoLeast), 2*rtoFirst) }

// An ask is a request and what counts as its answer.
type ask struct {
	to     netip.AddrPort
	add    func(b []byte) []byte // adds attributes, may be nil
	waits  []time.Duration       // after each time that it is sent
	wanted func(heard) bool
}

// An answer is what was heard, and when after the request was sent first.
type answer struct {
	heard
	after time.Duration
}

// ask sends a request until it is answered. It fails with errNoAnswer, the error
// of the last attempt to send if none succeeded, that of the socket, or ctx's cause.
func (c *stunClient) ask(ctx context.Context, a ask) (answer, error) {
	var id stun.ID
	_, _ = rand.Read(id[:]) // does not fail
	b := stun.New(stun.BindingRequest, id)
	if a.add != nil {
		b = a.add(b)
	}
	b = stun.AddFingerprint(b)
	got := make(chan heard, 8)
	c.mu.Lock()
	c.waits[id] = got
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waits, id)
	}()
	began := time.Now()
	var sent bool
	var failed error
	for _, wait := range a.waits {
		if err := c.sock.write(b, a.to); err != nil {
			failed = err
		} else {
			sent = true
		}
		late := time.After(wait)
		for waiting := true; waiting; {
			select {
			case h := <-got:
				if a.wanted(h) {
					return answer{h, h.at.Sub(began)}, nil
				}
			case <-late:
				waiting = false
			case <-c.done:
				return answer{}, c.err
			case <-ctx.Done():
				return answer{}, context.Cause(ctx)
			}
		}
	}
	if !sent && failed != nil {
		return answer{}, failed
	}
	return answer{}, errNoAnswer
}

// response reports whether h answers a request.
func (h heard) response() bool {
	return h.msg.Type == stun.BindingSuccess || h.msg.Type == stun.BindingError
}
