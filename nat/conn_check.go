package nat

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"time"

	"github.com/pion/ice/v2"
	"github.com/pion/stun"
)

// checkMost is how long a Check waits that nobody bounds.
const checkMost = 2 * time.Second

func tieBreaker() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// Check sends one connectivity check (RFC 8445, section 7.2) to SocketAddr and
// returns how long its answer took. Both are authenticated with the path's
// credentials. It is sent once, so that a Check without an answer until ctx ends,
// or for 2 s, is a packet lost one way or the other: context.DeadlineExceeded or
// what else ended ctx. When the path is lost or closed it returns what Read does.
func (c *Conn) Check(ctx context.Context) (time.Duration, error) {
	if err := c.reason(); err != nil {
		return 0, err
	}
	var role stun.Setter = ice.AttrControlled(c.tie)
	if c.search.role == controlling {
		role = ice.AttrControlling(c.tie)
	}
	integrity := stun.NewShortTermIntegrity(c.far.pwd)
	req, err := stun.Build(stun.TransactionID, stun.BindingRequest,
		stun.NewUsername(c.far.ufrag+":"+c.own.ufrag), role, ice.PriorityAttr(checkPriority),
		integrity, stun.Fingerprint)
	if err != nil {
		return 0, &Error{Reason: ReasonInternal, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, checkMost)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(c.ctx, func() { stop(c.reason()) })()
	start := time.Now()
	_, err = c.search.mux.RoundTrip(ctx, c.SocketAddr(), req, func(msg *stun.Message) bool {
		return msg.Type.Class == stun.ClassSuccessResponse && integrity.Check(msg) == nil
	})
	switch {
	case err == nil:
		return time.Since(start), nil
	case errors.Is(err, net.ErrClosed):
		if err := c.reason(); err != nil {
			return 0, err
		}
	}
	return 0, err
}

// checkPriority is a peer-reflexive candidate's (RFC 8445, section 5.1.2.1), as
// section 7.1.1 asks.
const checkPriority = 110<<24 | 65535<<8 | 255
