package rdcleanpath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A Security is one or more of the protocols of [MS-RDPBCGR] 2.2.1.1.1 that protect a
// connection.
type Security uint32

const (
	SSL      Security = 1 << iota // TLS, password inside
	Hybrid                        // CredSSP over TLS: NLA
	RDSTLS                        // redirected connections
	HybridEx                      // NLA with an early answer on authorisation
	RDSAAD                        // Entra ID
)

// NLA reports whether the person is authenticated before the session begins, by a
// proof that the server's key takes part in.
func (s Security) NLA() bool { return s == Hybrid || s == HybridEx }

// Why a server refused the negotiation, of [MS-RDPBCGR] 2.2.1.2.2.
const (
	SSLRequired    = 1
	SSLNotAllowed  = 2
	SSLNoCert      = 3
	Inconsistent   = 4
	HybridRequired = 5
	SSLUserAuth    = 6
)

// Bytes and bits of TPKT (RFC 1006), X.224 and the negotiation.
const (
	tpkt        = 4 // bytes of its header
	maxX224     = tpkt + 1 + 255
	fixed       = tpkt + 7 // bytes before a TPDU's variable part
	connRequest = 0xe0
	connConfirm = 0xd0

	negotiation     = 8 // bytes
	negRequest      = 1
	negResponse     = 2
	negFailure      = 3
	correlation     = 36 // bytes
	negCorrelate    = 6
	withCorrelation = 8 // flag of a request: a correlation follows
)

// ErrX224 is what is no X.224 connection request or confirm of RDP.
var ErrX224 = errors.New("rdcleanpath: not an X.224 connection PDU of RDP")

// A ConnectionRequest is what an RDP client asks for first.
type ConnectionRequest struct {
	Cookie   string   // a line without its end: who asks, or a routing token
	Security Security // what the client can do; 0: RDP's own, from before TLS
}

// A ConnectionConfirm is the server's answer: one Security, or why there is none.
type ConnectionConfirm struct {
	Security Security
	Failure  int // 0: none
}

// ReadX224 takes one connection PDU with its TPKT header from r and reads no further.
func ReadX224(r io.Reader) ([]byte, error) {
	b := make([]byte, tpkt, 64)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("rdcleanpath: read an X.224 PDU: %w", err)
	}
	size := int(binary.BigEndian.Uint16(b[2:]))
	if b[0] != 3 || size < fixed || size > maxX224 {
		return nil, ErrX224
	}
	b = append(b, make([]byte, size-tpkt)...)
	if _, err := io.ReadFull(r, b[tpkt:]); err != nil {
		return nil, fmt.Errorf("rdcleanpath: read an X.224 PDU: %w", err)
	}
	return b, nil
}

// variable returns what follows the fixed part of the one connection PDU that is b.
func variable(b []byte, kind byte) ([]byte, error) {
	ok := len(b) >= fixed && len(b) <= maxX224 &&
		b[0] == 3 && int(binary.BigEndian.Uint16(b[2:])) == len(b) && // TPKT
		int(b[4]) == len(b)-tpkt-1 && b[5] == kind && b[10] == 0 // length indicator, code, class 0
	if !ok {
		return nil, ErrX224
	}
	return b[fixed:], nil
}

// ParseRequest takes apart the one connection request that is b.
func ParseRequest(b []byte) (ConnectionRequest, error) {
	var c ConnectionRequest
	rest, err := variable(b, connRequest)
	if err != nil {
		return c, err
	}
	if len(rest) > 0 && rest[0] != negRequest {
		line, after, ok := bytes.Cut(rest, []byte("\r\n"))
		if !ok {
			return c, ErrX224
		}
		c.Cookie, rest = string(line), after
	}
	if len(rest) == 0 {
		return c, nil
	}
	if len(rest) < negotiation || rest[0] != negRequest || binary.LittleEndian.Uint16(rest[2:]) != negotiation {
		return c, ErrX224
	}
	flags := rest[1]
	c.Security, rest = Security(binary.LittleEndian.Uint32(rest[4:])), rest[negotiation:]
	if flags&withCorrelation != 0 {
		if len(rest) != correlation || rest[0] != negCorrelate || binary.LittleEndian.Uint16(rest[2:]) != correlation {
			return c, ErrX224
		}
		rest = nil
	}
	if len(rest) != 0 {
		return c, ErrX224
	}
	return c, nil
}

// WithoutCookie is the one connection request that is b without its cookie.
func WithoutCookie(b []byte) ([]byte, error) {
	c, err := ParseRequest(b)
	if err != nil || c.Cookie == "" {
		return b, err
	}
	rest := b[fixed+len(c.Cookie)+len("\r\n"):]
	out := append(append([]byte(nil), b[:fixed]...), rest...)
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
	out[4] = byte(len(out) - tpkt - 1)
	return out, nil
}

// ParseConfirm takes apart the one connection confirm that is b.
func ParseConfirm(b []byte) (ConnectionConfirm, error) {
	var c ConnectionConfirm
	rest, err := variable(b, connConfirm)
	if err != nil || len(rest) == 0 { // without a word of it: RDP's own security
		return c, err
	}
	if len(rest) != negotiation || binary.LittleEndian.Uint16(rest[2:]) != negotiation {
		return c, ErrX224
	}
	v := binary.LittleEndian.Uint32(rest[4:])
	switch {
	case rest[0] == negResponse:
		c.Security = Security(v)
	case rest[0] == negFailure && v > 0 && v < 1<<16:
		c.Failure = int(v)
	default:
		return c, ErrX224
	}
	return c, nil
}
