package held

import (
	"context"
	"errors"
	"net"
	"strconv"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// Dial waits until the device is reachable and connects to a granted port of it, for
// what outlives a tab, such as a connection that somebody has signed in. It keeps the
// session held no longer than its tabs do, and ends with it. Refusals and ends are a
// *client.Error; that nobody answers at the port is not.
func (s *Session) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	if err := s.reaches(port); err != nil {
		return nil, err
	}
	c, err := s.op.Dial(ctx, "tcp", ":"+strconv.Itoa(int(port)))
	if e, ok := errors.AsType[*operator.Error](err); ok {
		return nil, Over{Code: e.Code, Why: e.Error()}.err()
	}
	return c, err
}

// Done is closed when the session is over and nothing of it is left here.
func (s *Session) Done() <-chan struct{} { return s.op.Done() }

// Known is the session's device as control knows it.
func (s *Session) Known(ctx context.Context) (client.Device, error) {
	return s.api.Device(ctx, s.Device)
}
