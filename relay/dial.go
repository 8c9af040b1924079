package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boothwire/boothwire/internal/lenienttls"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/internal/sock"
	"github.com/boothwire/boothwire/relay/internal/wire"
)

// call makes one leg at one relay, which is to be reached within limit and to be done
// within answer, or proxyFor where that is longer and there is a proxy, not counted the
// time it takes to know of one: it returns when the relay has taken the proof, with what
// the relay said behind its READY.
func call(ctx context.Context, cfg *Config, limit, answer time.Duration, r keys.Relay, key keys.PrivateKey, generation uint64) (c net.Conn, paired bool, ahead []byte, err error) {
	at, err := url.Parse(r.URL)
	if err != nil || at.Scheme != "https" || at.Hostname() == "" || at.User != nil {
		return nil, false, nil, &Error{Reason: "malformed", Err: errors.New("a relay's URL is written https://relay.example.com/relay")}
	}
	leg, err := token(r.Token)
	if err != nil {
		return nil, false, nil, &Error{Reason: "malformed", Relay: r.URL, Err: err}
	}
	near, err := inside(ctx, cfg, limit, r.Key)
	if err != nil {
		return nil, false, nil, named(r.URL, err)
	}
	var proxy *url.URL
	if near == nil {
		if proxy, err = proxyOf(ctx, cfg, at); err != nil {
			return nil, false, nil, named(r.URL, err)
		}
	}
	if proxy != nil {
		limit, answer = max(limit, proxyFor), max(answer, proxyFor)
	}
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	made, nonce, err := upgrade(ctx, &road{cfg, near, at, proxy, limit}, r.Token)
	if err != nil {
		return nil, false, nil, named(r.URL, err)
	}
	// Not of c, which a return sets while this may still run.
	stop := context.AfterFunc(ctx, func() { made.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	paired, ahead, err = prove(made, key, r, nonce, leg, generation)
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		made.Close()
		return nil, false, nil, named(r.URL, there(err))
	}
	return made, paired, ahead, nil
}

// A road is how a relay is reached.
type road struct {
	cfg   *Config
	near  net.Conn // to one in this process; nil: it is elsewhere
	at    *url.URL
	proxy *url.URL      // nil: none
	limit time.Duration // until the TCP connection is there
}

// inside is the connection to a relay in this process; nil: it is elsewhere.
func inside(ctx context.Context, cfg *Config, limit time.Duration, relay keys.PublicKey) (net.Conn, error) {
	if cfg.Near == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return cfg.Near(ctx, relay)
}

// proxyOf asks for the proxy to a relay, which may take a system its time.
func proxyOf(ctx context.Context, cfg *Config, at *url.URL) (*url.URL, error) {
	ctx, cancel := context.WithTimeout(ctx, dialMost)
	defer cancel()
	proxy, err := cfg.Proxy((&http.Request{URL: at}).WithContext(ctx))
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, &Error{Reason: "proxy", Err: errors.New("the proxy settings cannot be read")}
	}
	return proxy, nil
}

// there is an error after the connection stood.
func there(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Reason: "unreachable", Err: err, there: true}
}

// named gives an error the relay's name.
func named(relay string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Relay = relay
		return e
	}
	return &Error{Reason: "unreachable", Relay: relay, Err: err}
}

// token reads which leg a token is for; whether it is good is the relay's to say.
func token(text string) (leg int, err error) {
	parts := strings.Split(text, ".")
	bad := errors.New("a token that is none")
	if len(parts) != 3 || len(text) > keys.MaxToken || strings.ContainsFunc(text, outside) {
		return 0, bad
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return 0, bad
	}
	var t struct {
		Leg int `json:"leg"`
	}
	if json.Unmarshal(payload, &t) != nil || t.Leg != 0 && t.Leg != 1 {
		return 0, bad
	}
	return t.Leg, nil
}

// outside reports whether r is in no token; one becomes a line of HTTP.
func outside(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
}

// prove says the first word on a leg and hears the relay's.
func prove(c net.Conn, key keys.PrivateKey, r keys.Relay, nonce []byte, leg int, generation uint64) (paired bool, ahead []byte, err error) {
	secret, err := key.RelaySecret(r.Key)
	if err != nil {
		return false, nil, &Error{Reason: "malformed", Err: err}
	}
	defer clear(secret)
	mac := wire.MAC(secret, nonce, []byte(r.Token), leg, generation)
	if _, err := c.Write(wire.AppendProof(nil, mac, generation)); err != nil {
		return false, nil, err
	}
	buf, n := make([]byte, 4<<10), 0
	for {
		typ, body, size, bad := wire.Next(buf[:n])
		switch {
		case bad != nil:
			return false, nil, &Error{Reason: "malformed"}
		case size > 0 && typ == wire.Bye && wire.ValidCode(body):
			return false, nil, &Error{Reason: string(body)}
		case size > 0 && typ == wire.Ready && len(body) == 1:
			return body[0] == 1, append([]byte(nil), buf[size:n]...), nil
		case size > 0:
			n = copy(buf, buf[size:n]) // before READY nothing counts
			continue
		case n == len(buf):
			return false, nil, &Error{Reason: "malformed"}
		}
		m, err := c.Read(buf[n:])
		if err != nil {
			return false, nil, err
		}
		n += m
	}
}

// upgrade makes the stream of frames: by our own Upgrade, and by WebSocket where
// something that is no relay answers to that.
func upgrade(ctx context.Context, r *road, token string) (net.Conn, []byte, error) {
	c, err := r.near, error(nil)
	if c == nil {
		c, err = r.secure(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := "GET " + path(r.at) + " HTTP/1.1\r\nHost: " + r.at.Host + "\r\nConnection: Upgrade\r\nUpgrade: " + wire.Protocol +
		"\r\n" + wire.TokenHeader + ": " + token + "\r\n\r\n"
	if _, err := io.WriteString(c, req); err != nil {
		c.Close()
		return nil, nil, there(err)
	}
	// What is read ahead is lost, but the relay says nothing behind its 101 before it
	// has the proof.
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(c, 16<<10)), nil)
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols && resp.Header.Get("Upgrade") == wire.Protocol {
		if nonce, err := nonceOf(resp.Header); err == nil {
			return c, nonce, nil
		}
	}
	var refused *Error
	if err == nil {
		refused = refusal(resp)
	}
	c.Close()
	if refused != nil {
		return nil, nil, refused
	}
	if ctx.Err() != nil {
		return nil, nil, there(context.Cause(ctx))
	}
	if r.near != nil { // nothing stands between
		if err == nil {
			err = fmt.Errorf("the relay in this process answers %d", resp.StatusCode)
		}
		return nil, nil, there(err)
	}
	return upgradeWebSocket(ctx, r, token)
}

func path(at *url.URL) string {
	if at.Path == "" || at.Path == "/" {
		return wire.Path
	}
	return at.EscapedPath()
}

func nonceOf(h http.Header) ([]byte, error) {
	nonce, err := base64.RawURLEncoding.DecodeString(h.Get(wire.NonceHeader))
	if err != nil || len(nonce) != wire.NonceSize {
		return nil, errors.New("no nonce")
	}
	return nonce, nil
}

// refusal is the relay's own no; nil when somebody else answered.
func refusal(resp *http.Response) *Error {
	var said struct{ Code, Detail string }
	if resp.StatusCode < 400 || resp.StatusCode == http.StatusUpgradeRequired || json.NewDecoder(io.LimitReader(resp.Body, 1<<10)).Decode(&said) != nil || !wire.ValidCode([]byte(said.Code)) {
		return nil
	}
	return &Error{Reason: said.Code}
}

func upgradeWebSocket(ctx context.Context, r *road, token string) (net.Conn, []byte, error) {
	d := websocket.Dialer{
		NetDialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return r.secure(ctx) },
		Subprotocols:      []string{wire.Subprotocol},
		ReadBufferSize:    4 << 10, WriteBufferSize: 32 << 10,
	}
	to := *r.at
	to.Scheme = "wss"
	if path(r.at) != r.at.EscapedPath() {
		to.Path = wire.Path
	}
	ws, resp, err := d.DialContext(ctx, to.String(), http.Header{wire.TokenHeader: {token}})
	if err != nil {
		if resp != nil {
			if refused := refusal(resp); refused != nil {
				return nil, nil, refused
			}
			return nil, nil, &Error{Reason: "no_relay", Err: fmt.Errorf("something on the way answers %d", resp.StatusCode)}
		}
		return nil, nil, err
	}
	nonce, err := nonceOf(resp.Header)
	if err != nil || ws.Subprotocol() != wire.Subprotocol {
		ws.Close()
		return nil, nil, &Error{Reason: "no_relay", Err: errors.New("a WebSocket that is no relay's")}
	}
	ws.SetReadLimit(1 << 20)
	return wire.WebSocket(ws), nonce, nil
}

// cut reports whether a handshake ended without a word of TLS about what is wrong.
func cut(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op == "read" || op.Op == "write"
	}
	return errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded)
}

// secure is TLS to the relay, through the proxy if there is one.
func (r *road) secure(ctx context.Context) (net.Conn, error) {
	raw, err := r.reach(ctx)
	if err != nil {
		return nil, err
	}
	sock.Tune(raw)
	raw = sock.Wrap(raw)
	base := new(tls.Config)
	if r.cfg.TLS != nil {
		base = r.cfg.TLS.Clone()
	}
	if base.ServerName == "" {
		base.ServerName = r.at.Hostname()
	}
	t := lenienttls.Config(base, nil)
	t.MinVersion = tls.VersionTLS13
	t.NextProtos = []string{"http/1.1"}
	if t.CurvePreferences == nil {
		// No post-quantum key share: what it would protect, WireGuard's ciphertext and
		// a token that ends with the session, has none either. It doubles what a
		// handshake computes, and makes a hello of two segments, which some old
		// firewalls do not let through.
		t.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}
	}
	t.DynamicRecordSizingDisabled = true // a whole batch in one record
	c := tls.Client(raw, t)
	if err := c.HandshakeContext(ctx); err != nil {
		raw.Close()
		if cut(err) {
			return nil, &Error{Reason: "unreachable", Err: err, there: true}
		}
		return nil, &Error{Reason: "tls", Err: err}
	}
	return c, nil
}

// reach is the TCP connection to the relay.
func (r *road) reach(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	port := r.at.Port()
	if port == "" {
		port = "443"
	}
	target := net.JoinHostPort(r.at.Hostname(), port)
	if r.proxy == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", target)
	}
	return connect(ctx, r.proxy, target)
}
