package nat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// An Exchanger carries offers between the two ends of a session, by way of a
// third. Messages may be lost, repeated, reordered or forged: they are sealed,
// of at most 2,800 bytes, and sent again until they are acknowledged.
type Exchanger interface {
	// SendOffer passes a message on. An error is taken for a loss.
	SendOffer(ctx context.Context, sealed []byte) error
	// ReceiveOffer waits for the far end's next message, until ctx ends. Any other
	// error is final.
	ReceiveOffer(ctx context.Context) ([]byte, error)
}

// Config says how a path is looked for. Its zero value finds paths between
// addresses of the hosts alone.
type Config struct {
	// STUN are servers, as host:port, host (port 3478) or with stun: before it;
	// at most 8. All are asked.
	STUN []string

	// TURN are relays of RFC 8656. They are not supported: a Config that names one
	// is refused with errors.ErrUnsupported.
	TURN []TURN

	// Refuse are prefixes of which no address is offered, tried or heard: what the
	// tunnel itself carries, its own address in it, so that no path leads through
	// the tunnel.
	Refuse []netip.Prefix

	// Report returns what the far end is told about this end's network, e.g. the
	// class of its NAT: at most 256 bytes of printable ASCII, anything else is not
	// told. It is called often and must not block; nil reports nothing. What it
	// returns up to 20 s after a path was found is still told.
	Report func() string

	// Keepalive is how often an idle path is checked, which also keeps the NATs'
	// bindings; it must be the same at both ends or nearly so. A path of which
	// nothing is heard for 2.5 times as long is lost. 0: 5 s.
	Keepalive time.Duration

	// Logger gets what happens at debug level; nil is silent.
	Logger *zap.Logger
}

// TURN is a relay server and credentials for it.
type TURN struct{ URL, Username, Password string }

const (
	serversMost      = 8
	keepaliveDefault = 5 * time.Second
	keepaliveLeast   = 200 * time.Millisecond
)

// clean returns a copy of c with its defaults, and the servers taken apart.
func (c *Config) clean() (Config, []server, error) {
	var own Config
	if c != nil {
		own = *c
	}
	if len(own.TURN) > 0 {
		return own, nil, &Error{Reason: ReasonUnsupported, Err: fmt.Errorf("TURN: %w", errors.ErrUnsupported)}
	}
	if len(own.STUN) > serversMost {
		return own, nil, &Error{Reason: ReasonConfig, Err: fmt.Errorf("%d STUN servers, %d are allowed", len(own.STUN), serversMost)}
	}
	var servers []server
	for _, text := range own.STUN {
		s, err := parseServer(text)
		if err != nil {
			return own, nil, &Error{Reason: ReasonConfig, Err: err}
		}
		servers = append(servers, s)
	}
	if own.Keepalive == 0 {
		own.Keepalive = keepaliveDefault
	}
	own.Keepalive = max(own.Keepalive, keepaliveLeast)
	if own.Logger == nil {
		own.Logger = zap.NewNop()
	}
	return own, servers, nil
}

// A server is a STUN server by name.
type server struct {
	host string
	port uint16
}

// parseServer reads an element of Config.STUN (RFC 7064 without the transport).
func parseServer(text string) (server, error) {
	rest := strings.TrimPrefix(text, "stun:")
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]"), "3478"
		if strings.Contains(host, ":") {
			if _, err := netip.ParseAddr(host); err != nil {
				return server{}, fmt.Errorf("STUN server %q: not host:port", text)
			}
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if host == "" || err != nil || n == 0 || strings.ContainsAny(host, "/?#@ ") {
		return server{}, fmt.Errorf("STUN server %q: not host:port", text)
	}
	return server{host, uint16(n)}, nil
}

// Dial finds a path to the far end, which must call Accept with the same secret
// (at least 16 bytes): it begins a generation of its own, offers this end's
// candidates, and picks the pair (the controlling end of RFC 8445). It gives up
// with an *Error that is ErrNoPath after 10 s without an answer, or 10 s after
// the first one.
//
// sock gets all that is sent, and must deliver what arrives of STUN. Nobody else
// may read it until Dial has failed or the Conn is closed; then it is as it was,
// without a read deadline. It may be bound to an address or to none. ctx bounds
// the call, not the Conn.
func Dial(ctx context.Context, sock net.PacketConn, x Exchanger, secret []byte, cfg *Config) (*Conn, error) {
	return open(ctx, sock, x, secret, cfg, controlling)
}

// Accept is the other end of Dial. It waits for an offer as long as ctx lets it,
// and follows the newest generation that it hears. It gives up 10 s after a
// generation's first offer; so whoever keeps a path open calls it again at once.
// A Conn of Accept ends when a newer generation is heard: the far end looks for
// another path, and a new Accept answers it.
func Accept(ctx context.Context, sock net.PacketConn, x Exchanger, secret []byte, cfg *Config) (*Conn, error) {
	return open(ctx, sock, x, secret, cfg, controlled)
}

func open(ctx context.Context, sock net.PacketConn, x Exchanger, secret []byte, cfg *Config, role end) (*Conn, error) {
	own, servers, err := cfg.clean()
	if err != nil {
		return nil, err
	}
	if len(secret) < secretLeast {
		return nil, &Error{Reason: ReasonConfig, Err: fmt.Errorf("a secret of %d bytes, at least %d are needed", len(secret), secretLeast)}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s, err := start(ctx, sock, x, secret, own, servers, role)
	if err != nil {
		return nil, err
	}
	select {
	case <-s.ready:
	case <-s.done:
		select {
		case <-s.ready: // and lost at once: the Conn tells
		default:
			return nil, s.err
		}
	case <-ctx.Done():
		s.close()
		return nil, context.Cause(ctx)
	}
	return s.conn, nil
}
