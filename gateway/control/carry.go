package control

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/internal/health"
	"github.com/boothwire/boothwire/keys"
)

// The headers of a call that one member carries to another: the secret that they
// share, the key of the certificate that the caller showed, and the address that the
// call came from. From anybody else they count for nothing.
const (
	headerCarried  = "Boothwire-Carried"
	headerIdentity = "Boothwire-Identity"
	headerFrom     = "Boothwire-From"
	headerNoLead   = "Boothwire-No-Lead" // of an answer: nothing was done
)

const (
	// A call waits for somebody to have the lead: as long as it takes for that of a
	// process that was killed to lapse, and for the next one to read what is open.
	leadPatience = leaseFor + 5*time.Second
	carryDial    = 3 * time.Second
	maxCarried   = 8 << 20 // the largest body of any call
	smallBody    = 64 << 10
	maxLarge     = 16 // bodies beyond that are held at a time
)

// Handler serves h while this member has the lead, and else carries each call, streams
// and long polls too, to the member that has, without looking into it. h is the whole
// of what a process serves, ServeHTTP among it. Of /healthz and /readyz each member
// speaks for itself.
//
// A call has a body of at most 8 MiB, which can be sent again to whoever has the lead by
// then. Below the paths of live, such as "/console/", bodies of any size and WebSockets
// pass as they come, and a call of which some was sent is not sent again.
func (m *Member) Handler(h http.Handler, live ...string) http.Handler {
	mux := http.NewServeMux()
	health.Register(mux, m.Health)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { m.serve(h, w, r, m.carries(live, r.URL.Path)) })
	if m.db == nil {
		return h
	}
	return mux
}

// ServeHTTP is that of the Control that this member is.
func (m *Member) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c, _, _ := m.deciding(); c != nil {
		c.ServeHTTP(w, r)
		return
	}
	refuseNoLead(w, whyNoLead)
}

// whyNoLead is what a call is told for which nobody was found.
const whyNoLead = "nobody decides at the moment"

func refuseNoLead(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "1")
	w.Header().Set(headerNoLead, "1")
	problem(w, http.StatusServiceUnavailable, codeNoLead, why)
}

// parcel is a call that may be carried. pass sends it to another member, and its answer
// back; it fails with unsent when nothing was done about it, and it can be passed again.
type parcel interface {
	pass(w http.ResponseWriter, r *http.Request, o *other) error
	rewind(r *http.Request) // for it to be served here after all
}

// carries is how calls of a path are carried.
func (m *Member) carries(live []string, path string) func(http.ResponseWriter, *http.Request) (parcel, error) {
	for _, prefix := range live {
		if strings.HasPrefix(path, prefix) {
			return m.liveParcel
		}
	}
	return m.wholeParcel
}

func (m *Member) serve(h http.Handler, w http.ResponseWriter, r *http.Request, pack func(http.ResponseWriter, *http.Request) (parcel, error)) {
	if secret := r.Header.Get(headerCarried); secret != "" {
		m.serveCarried(h, w, r, secret)
		return
	}
	r.Header.Del(headerIdentity)
	r.Header.Del(headerFrom)
	c, _, _ := m.deciding()
	if c != nil {
		h.ServeHTTP(w, r)
		return
	}
	call, err := pack(w, r)
	if err != nil {
		problem(w, statusOf(err), codeOf(err, keys.ReasonMalformed), "the body cannot be read")
		return
	}
	patience, cancel := context.WithTimeout(r.Context(), leadPatience)
	defer cancel()
	for {
		c, o, change := m.deciding()
		switch {
		case c != nil:
			call.rewind(r)
			h.ServeHTTP(w, r)
			return
		case o != nil:
			err := call.pass(w, r, o)
			if err == nil {
				return
			}
			m.log.Debug("not carried", zap.String("url", o.URL), zap.Error(err))
			if !errors.As(err, new(unsent)) {
				problem(w, http.StatusBadGateway, "lead_lost", "the process that decides went away")
				return
			}
		}
		select {
		case <-change:
		case <-time.After(leaseLook / 4):
		case <-patience.Done():
			refuseNoLead(w, whyNoLead)
			return
		}
	}
}

// serveCarried serves what another member carried here. It goes no further.
func (m *Member) serveCarried(h http.Handler, w http.ResponseWriter, r *http.Request, secret string) {
	if subtle.ConstantTimeCompare([]byte(secret), []byte(m.secret)) != 1 {
		problem(w, http.StatusForbidden, "forbidden", "no member of this deployment")
		return
	}
	identity := keys.IdentityKey{}
	if text := r.Header.Get(headerIdentity); text != "" {
		var err error
		if identity, err = keys.ParseIdentityKey(text); err != nil {
			problem(w, http.StatusBadRequest, keys.ReasonMalformed, "no identity key")
			return
		}
	}
	if c, _, _ := m.deciding(); c == nil {
		refuseNoLead(w, "the lead has passed on")
		return
	}
	r.RemoteAddr = r.Header.Get(headerFrom) // none: of nobody known, least of all of this machine
	for _, name := range []string{headerCarried, headerIdentity, headerFrom} {
		r.Header.Del(name)
	}
	h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), localIdentity{}, identity)))
}

// whole is a call whose body is at hand.
type whole struct {
	m    *Member
	body []byte
}

func (m *Member) wholeParcel(w http.ResponseWriter, r *http.Request) (parcel, error) {
	body, err := m.readBody(w, r)
	return whole{m, body}, err
}

func (p whole) rewind(r *http.Request) { r.Body = io.NopCloser(bytes.NewReader(p.body)) }

func (p whole) pass(w http.ResponseWriter, r *http.Request, o *other) error {
	return p.m.way.carry(w, r, p.body, o, p.m.secret)
}

// readBody reads a whole body, so that it can be sent again where it was not taken.
// Nobody here knows yet whether its sender may: a large one, such as of who imports
// devices, waits for its turn to be read, and has it until its call is over.
func (m *Member) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	limited := http.MaxBytesReader(w, r.Body, maxCarried)
	body, err := io.ReadAll(io.LimitReader(limited, smallBody))
	if err == nil && len(body) == smallBody {
		turn, cancel := context.WithTimeout(r.Context(), bodyTimeout)
		defer cancel()
		select {
		case m.large <- struct{}{}:
			context.AfterFunc(r.Context(), func() { <-m.large })
		case <-turn.Done():
			return nil, fail(http.StatusServiceUnavailable, keys.ReasonBusy, "too many large bodies at a time")
		}
		var rest []byte
		rest, err = io.ReadAll(limited)
		body = append(body, rest...)
	}
	if errors.As(err, new(*http.MaxBytesError)) {
		return nil, errTooLarge
	}
	return body, err
}

// unsent is why a call did not get to the other member at all.
type unsent struct{ error }

// carrier carries calls to other members.
type carrier struct{ http *http.Transport }

// The pin of a call's destination goes with its context to where it is dialled.
type pinOf struct{}

func newCarrier() *carrier {
	dialer := &net.Dialer{Timeout: carryDial}
	c := &carrier{http: &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: 256,
		IdleConnTimeout: 20 * time.Second, // sooner than the other end closes it
		Protocols:       new(http.Protocols),
	}}
	c.http.Protocols.SetHTTP1(true)
	c.http.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, unsent{err}
		}
		return conn, nil
	}
	c.http.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(addr)
		pin, _ := ctx.Value(pinOf{}).(string)
		d := tls.Dialer{NetDialer: dialer, Config: pinned(host, pin)}
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, unsent{err}
		}
		return conn, nil
	}
	return c
}

// vouch says in out who sent r.
func vouch(out, r *http.Request, secret string) {
	out.Header.Set(headerCarried, secret)
	out.Header.Set(headerFrom, r.RemoteAddr)
	out.Header.Del(headerIdentity)
	if id := identityOf(r); !id.IsZero() {
		out.Header.Set(headerIdentity, id.String())
	}
}

func (c *carrier) close() { c.http.CloseIdleConnections() }

// pinned knows a member by the key of its certificate, or, without a pin, by its chain.
func pinned(host, pin string) *tls.Config {
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS13}
	if pin == "" {
		return cfg
	}
	cfg.InsecureSkipVerify = true // the pin takes the chain's place
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) > 0 {
			sum := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(pin)) == 1 {
				return nil
			}
		}
		return errors.New("control: another member's certificate is not the one that it announced")
	}
	return cfg
}

// hop are the headers that concern one connection (RFC 9110, section 7.6.1).
var hop = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// carry sends a call to o and its answer back. It fails with unsent, before a byte of
// an answer, when the call did not get there.
func (c *carrier) carry(w http.ResponseWriter, r *http.Request, body []byte, o *other, secret string) error {
	base, err := url.Parse(o.URL)
	if err != nil || base.Host == "" {
		return unsent{fmt.Errorf("control: %q is no URL of a member", o.URL)}
	}
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), pinOf{}, o.Pin))
	defer cancel()
	defer context.AfterFunc(o.ctx, cancel)()
	out := r.Clone(ctx)
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host = base.Scheme, base.Host
	// A connection that the other end closed meanwhile is found out by the first byte, and
	// all of it is sent by another.
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	out.Body, _ = out.GetBody()
	if out.ContentLength = int64(len(body)); len(body) == 0 {
		out.Body, out.GetBody = http.NoBody, nil
	}
	for _, h := range hop {
		out.Header.Del(h)
	}
	vouch(out, r, secret)
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		out.Header.Add("X-Forwarded-For", host)
	}
	resp, err := c.http.RoundTrip(out)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.Header.Get(headerNoLead) != "" {
		return unsent{errors.New("control: the lead has passed on")}
	}
	for _, h := range hop {
		resp.Header.Del(h)
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	forward(w, resp.Body)
	return nil
}

// forward copies an answer as it comes, to a caller who takes it.
func forward(w http.ResponseWriter, body io.Reader) {
	rc := http.NewResponseController(w)
	buf := make([]byte, 32<<10)
	for {
		if rc.Flush() != nil {
			return
		}
		n, err := body.Read(buf)
		_ = rc.SetWriteDeadline(time.Now().Add(writeLimit))
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = rc.SetWriteDeadline(time.Time{})
			if !errors.Is(err, io.EOF) {
				panic(http.ErrAbortHandler) // an answer that broke off must not look whole
			}
			return
		}
	}
}
