package sshconn

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Keepalives find out that a server is gone: three that it does not answer.
const (
	keepaliveEvery    = 15 * time.Second
	keepalivePatience = 45 * time.Second
)

// maxChannels is what OpenSSH allows a connection (MaxSessions).
const maxChannels = 10

// openTimeout bounds the opening of one channel.
const openTimeout = 20 * time.Second

// A Conn is one connection, signed in. It is safe for concurrent use.
type Conn struct {
	Device    string // its id
	User      string // on the device
	HostKey   string // its hash, as ssh-keygen -l writes it
	HostKeyBy string // Signed, Remembered or FirstUse
	Windows   bool   // the server is OpenSSH for Windows

	raw    net.Conn
	client *ssh.Client
	slots  chan struct{} // one for each open channel
	done   chan struct{}
	once   sync.Once
	err    error // once done is closed
}

func newConn(t Target, raw net.Conn, client *ssh.Client, user, hostKey string) *Conn {
	return &Conn{
		Device: t.Device(), User: user, HostKey: hostKey, Windows: strings.Contains(string(client.ServerVersion()), "OpenSSH_for_Windows"),
		raw: raw, client: client, slots: make(chan struct{}, maxChannels), done: make(chan struct{}),
	}
}

// Done is closed when the connection is over.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection is over, an *Error; nil while it lives.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// end closes the connection for a reason, of which the first counts.
func (c *Conn) end(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.done)
		c.raw.Close() // not client.Close, which may wait for a peer that does not read
	})
}

// run keeps the connection until it or the target is over.
func (c *Conn) run(over <-chan struct{}) {
	var work sync.WaitGroup
	work.Go(c.keepalive)
	work.Go(func() {
		err := c.client.Wait()
		c.end(&Error{Code: CodeLost, Err: err})
	})
	select {
	case <-over:
		c.end(&Error{Code: CodeEnded})
	case <-c.done:
	}
	work.Wait()
}

// keepalive asks the server for an answer now and then. Any will do, also a refusal.
func (c *Conn) keepalive() {
	tick := time.NewTicker(keepaliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-tick.C:
		}
		late := time.AfterFunc(keepalivePatience, func() {
			c.end(&Error{Code: CodeLost, Err: errors.New("the server does not answer")})
		})
		_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
		late.Stop()
		if err != nil {
			c.end(&Error{Code: CodeLost, Err: err})
		}
	}
}

// session opens a channel and sets it up with begin, within the time that this may
// take. A server that lets it pass loses the connection: nothing else would free the
// caller.
func (c *Conn) session(ctx context.Context, begin func(*ssh.Session) error) (*ssh.Session, error) {
	select {
	case c.slots <- struct{}{}:
	default:
		return nil, &Error{Code: CodeMany}
	}
	slow := time.AfterFunc(openTimeout, func() {
		c.end(&Error{Code: CodeLost, Err: errors.New("the server does not open a channel")})
	})
	defer slow.Stop()
	s, err := c.client.NewSession()
	if err == nil {
		if err = begin(s); err != nil {
			s.Close()
		}
	}
	if err == nil && ctx.Err() != nil {
		s.Close()
		err = ctx.Err()
	}
	if err != nil {
		<-c.slots
		if e := c.Err(); e != nil {
			return nil, e
		}
		return nil, &Error{Code: CodeRefused, Err: errors.New(clip(err.Error()))}
	}
	return s, nil
}

func (c *Conn) release() { <-c.slots }

// codeOf is the code of an error, "" for none of ours.
func codeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}
