package sshconn

import (
	"context"
	"net"
	"sync"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/console/internal/firstuse"
)

// Conns are the connections that people have signed in. It is safe for concurrent use.
type Conns struct {
	first *firstuse.Pins
	log   *zap.Logger

	mu     sync.Mutex
	conns  map[string]*Conn // by Target.Key
	more   chan struct{}    // closed and replaced when one is added
	closed bool
	wg     sync.WaitGroup
}

// New returns no connection yet; Close ends those to come. first are the host keys of
// devices that signed none, nil: such devices are refused. A nil logger is silent.
func New(first *firstuse.Pins, log *zap.Logger) *Conns {
	if log == nil {
		log = zap.NewNop()
	}
	return &Conns{first: first, log: log, conns: make(map[string]*Conn), more: make(chan struct{})}
}

// Of returns the connection of a target that lives, nil when nobody has signed in.
func (c *Conns) Of(key string) *Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of(key)
}

// of is Of, for one that is over may be there a moment longer; mu is held.
func (c *Conns) of(key string) *Conn {
	if conn := c.conns[key]; conn != nil && conn.Err() == nil {
		return conn
	}
	return nil
}

// More is closed when somebody signs in, wherever.
func (c *Conns) More() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.more
}

// SignIn connects to the target's device as cred says, which it wipes. ctx bounds the
// call; the connection lives until the target, the server or Close ends it. A
// connection that is there already is returned as it is. A refusal is an *Error.
func (c *Conns) SignIn(ctx context.Context, t Target, cred *Credential, ask Asker) (*Conn, error) {
	defer cred.Wipe()
	if conn := c.Of(t.Key()); conn != nil {
		return conn, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-t.Done():
			cancel()
		case <-over:
		}
	}()
	conn, err := c.handshake(ctx, t, cred, ask)
	if err != nil {
		c.log.Info("ssh sign-in failed", zap.String("device", t.Device()), zap.String("code", codeOf(err)))
		return nil, err
	}
	c.log.Info("ssh signed in", zap.String("device", t.Device()), zap.String("account", conn.User), zap.String("host_key", conn.HostKeyBy))
	return c.keep(t, conn)
}

// keep makes conn the target's connection, unless there is one by now.
func (c *Conns) keep(t Target, conn *Conn) (*Conn, error) {
	c.mu.Lock()
	first := c.of(t.Key())
	if first != nil || c.closed {
		c.mu.Unlock()
		conn.end(nil)
		conn.client.Wait()
		if first == nil {
			return nil, net.ErrClosed
		}
		return first, nil
	}
	c.conns[t.Key()] = conn
	close(c.more)
	c.more = make(chan struct{})
	c.wg.Go(func() {
		conn.run(t.Done())
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.conns[t.Key()] == conn {
			delete(c.conns, t.Key())
		}
	})
	c.mu.Unlock()
	return conn, nil
}

// Close ends every connection and waits for its goroutines.
func (c *Conns) Close() error {
	c.mu.Lock()
	c.closed = true
	for _, conn := range c.conns {
		conn.end(&Error{Code: CodeEnded})
	}
	c.mu.Unlock()
	c.wg.Wait()
	return nil
}
