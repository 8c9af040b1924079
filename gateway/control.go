package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/boothwire/boothwire/internal/strictjson"
	"github.com/boothwire/boothwire/keys"
)

// ControlError is a refusal by control.
type ControlError struct {
	Status int    // of HTTP
	Reason string // its code, may be empty
	Detail string
}

func (e *ControlError) Error() string {
	return fmt.Sprintf("gateway: control refused: %d %s %s", e.Status, e.Reason, e.Detail)
}

// Code returns the reason.
func (e *ControlError) Code() string { return e.Reason }

// lasting reports whether asking again cannot help.
func (e *ControlError) lasting() bool {
	return e.Status >= 400 && e.Status < 500 && e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooManyRequests
}

// errPin says that whoever answered is not the control of the claim.
var errPin = errors.New("gateway: control's certificate is not the pinned one")

// requestTimeout bounds one request but the stream.
const requestTimeout = 10 * time.Second

// control speaks HTTP with control.
type control struct {
	base string
	http *http.Client
	own  *http.Transport // nil when the caller's own RoundTripper is in use
}

// newControl takes base's settings, and adds the node's certificate and the pin. A
// RoundTripper other than *http.Transport is used as it is: it is for control in
// the same process.
func newControl(address string, base *http.Client, id *keys.Identity, name, pin string) (*control, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("gateway: %q is no URL of a control", address)
	}
	if base == nil {
		base = &http.Client{}
	}
	c := &control{base: strings.TrimRight(address, "/"), http: &http.Client{
		Transport: base.Transport, Jar: base.Jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	transport := base.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	t, ok := transport.(*http.Transport)
	if !ok {
		return c, nil
	}
	if u.Scheme != "https" {
		return nil, fmt.Errorf("gateway: control is spoken to over https, not %q", u.Scheme)
	}
	cert, err := keys.TLSCertificate(id, name)
	if err != nil {
		return nil, err
	}
	c.own = t.Clone()
	c.http.Transport = c.own
	if c.own.TLSClientConfig == nil {
		c.own.TLSClientConfig = &tls.Config{}
	}
	secure(c.own.TLSClientConfig, cert, pin)
	return c, nil
}

// secure adds the node's certificate and the pin to cfg.
func secure(cfg *tls.Config, cert tls.Certificate, pin string) {
	cfg.Certificates = []tls.Certificate{cert}
	cfg.GetClientCertificate = nil
	cfg.MinVersion = tls.VersionTLS13
	if pin == "" {
		return
	}
	// The pin replaces the chain: control's certificate may be self-signed.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errPin
		}
		sum := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
		got := base64.RawURLEncoding.EncodeToString(sum[:])
		if subtle.ConstantTimeCompare([]byte(got), []byte(pin)) != 1 {
			return errPin
		}
		return nil
	}
}

func (c *control) close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// post sends v and decodes the answer into out, unless that is nil.
func (c *control) post(ctx context.Context, path string, v, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return refusal(resp)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
	if err == nil && out != nil {
		err = strictjson.Unmarshal(answer, out)
	}
	if err != nil {
		return fmt.Errorf("gateway: control's answer: %w", err)
	}
	return nil
}

// stream opens the stream of lines, with those for a relay or without; the caller
// closes it.
func (c *control) stream(ctx context.Context, relay bool) (io.ReadCloser, error) {
	path := pathFollow
	if relay {
		path += withRelay
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return resp.Body, nil
}

// refusal reads problem details (RFC 9457), as far as there are any.
func refusal(resp *http.Response) error {
	var p problem
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
	if err == nil {
		_ = json.Unmarshal(b, &p)
	}
	if p.Detail == "" {
		p.Detail = p.Title
	}
	return &ControlError{Status: resp.StatusCode, Reason: p.Code, Detail: p.Detail}
}
