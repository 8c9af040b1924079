package desktop

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/rdcleanpath"
)

// An rdp is a connection to a device's RDP server, inside TLS.
type rdp struct {
	*tls.Conn
	confirm  []byte // the server's X.224 PDU
	security rdcleanpath.Security
	sum      string // SHA-256 of the certificate, in hex
}

// A refused negotiation has the server's own word.
type refused struct{ confirm []byte }

func (r *refused) Error() string { return errNegotiation.Error() }

func (r *refused) Unwrap() error { return errNegotiation }

// dialRDP connects to the target's RDP server, forwards the browser's X.224 request
// and makes the TLS handshake with the certificate that it has to have.
func (s *Server) dialRDP(ctx context.Context, t *Target, request []byte) (*rdp, error) {
	conn, err := t.Dial(ctx, portRDP)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	r, err := s.negotiate(conn, t, request)
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	return r, nil
}

// unreachable is what a dial that failed means: a refusal of the session's, or nobody
// at that port.
func unreachable(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*client.Error](err); ok {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", errUnreachable, err)
}

func (s *Server) negotiate(conn net.Conn, t *Target, request []byte) (*rdp, error) {
	conn.SetDeadline(time.Now().Add(step))
	if _, err := conn.Write(request); err != nil {
		return nil, silent(err)
	}
	confirm, err := rdcleanpath.ReadX224(conn)
	if err != nil {
		return nil, silent(err)
	}
	c, err := rdcleanpath.ParseConfirm(confirm)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errNotRDP, err)
	case c.Failure != 0:
		return nil, &refused{confirm}
	case !c.Security.NLA() && (!s.cfg.Policy.Plain || c.Security != rdcleanpath.SSL):
		return nil, errNoNLA
	}
	r := &rdp{confirm: confirm, security: c.Security}
	r.Conn = tls.Client(conn, &tls.Config{
		InsecureSkipVerify: true, // the certificate is the server's own: what the device signed is checked
		VerifyConnection: func(cs tls.ConnectionState) error {
			sum := sha256.Sum256(cs.PeerCertificates[0].Raw)
			r.sum = hex.EncodeToString(sum[:])
			return s.knows(t, r.sum)
		},
	})
	conn.SetDeadline(time.Now().Add(step))
	if err := r.Handshake(); err != nil {
		if _, ok := errors.AsType[*client.Error](err); ok {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errTLS, err)
	}
	return r, nil
}

// silent is what a server means that does not speak.
func silent(err error) error {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return fmt.Errorf("%w: %w", errLate, err)
	}
	return fmt.Errorf("%w: %w", errNotRDP, err)
}

// knows refuses a certificate that is not the device's.
func (s *Server) knows(t *Target, sum string) error {
	switch {
	case t.RDP != "" && strings.EqualFold(t.RDP, sum):
		return nil
	case t.RDP != "":
		return errOther
	case s.cfg.First == nil:
		return errUnsigned
	}
	same, err := s.cfg.First.Meet(t.Device, sum)
	if err != nil {
		return err
	}
	if !same {
		return errChanged
	}
	return nil
}

// chain is what the server showed, leaf first.
func (r *rdp) chain() [][]byte {
	var out [][]byte
	for _, c := range r.ConnectionState().PeerCertificates {
		out = append(out, c.Raw)
	}
	return out
}
