package https

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/boothwire/boothwire/signaling"
)

const (
	connectTimeout = 30 * time.Second
	// How long a request may take beyond what it waits for: a connect, a handshake and an
	// answer of a few KiB over a bad link.
	callTimeout = 45 * time.Second
)

var (
	errRefused = errors.New("https: server refuses this device")
	errNonce   = errors.New("https: server accepts no nonce")
)

// statusError is an answer that is none of the expected ones.
type statusError int

func (e statusError) Error() string { return "https: server answered " + strconv.Itoa(int(e)) }

// caller makes signed requests. Safe for concurrent use.
type caller struct {
	device string
	key    crypto.Signer
	prefix string
	client *http.Client
	purse  purse
}

// answered is what a poll brought: a mark of N 0 when nothing came.
type answered struct {
	mark    Mark
	command []byte
}

// poll makes one poll. It ends early when the address it goes out from is gone.
func (c *caller) poll(ctx context.Context, after Mark, wait time.Duration, now func() links) (answered, error) {
	ctx, stop := context.WithTimeoutCause(ctx, wait+callTimeout, errors.New("https: no answer"))
	defer stop()
	ctx, leave := watchLink(ctx, now)
	defer leave()
	res, body, err := c.do(ctx, http.MethodGet, opCommands, commandsQuery(after, wait), nil, signaling.MaxCommand)
	if err != nil {
		return answered{}, err
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNoContent {
		return answered{}, statusError(res.StatusCode)
	}
	a := answered{mark: Mark{Epoch: res.Header.Get(headerEpoch)}}
	if a.mark.Epoch == "" || !validEpoch(a.mark.Epoch) {
		return answered{}, errors.New("https: answer without an epoch")
	}
	if res.StatusCode == http.StatusOK {
		a.command = body
		if a.mark.N, err = parseNumber(res.Header.Get(headerCommand)); err != nil || a.mark.N == 0 {
			return answered{}, errors.New("https: command without a number")
		}
	}
	return a, nil
}

// status posts one status.
func (c *caller) status(ctx context.Context, status []byte, retain bool) error {
	ctx, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	query := ""
	if retain {
		query = "retain=1"
	}
	res, _, err := c.do(ctx, http.MethodPost, opStatus, query, status, 0)
	if err == nil && res.StatusCode/100 != 2 {
		err = statusError(res.StatusCode)
	}
	return err
}

// do makes one request, and makes it again once when the server wanted a fresh nonce. Of
// the body it returns limit bytes and one more if it is longer.
func (c *caller) do(ctx context.Context, method, op, query string, body []byte, limit int64) (*http.Response, []byte, error) {
	for try := 0; ; try++ {
		res, err := c.try(ctx, method, op, query, body)
		if err != nil {
			return nil, nil, err
		}
		data, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
		res.Body.Close()
		if err != nil {
			return nil, nil, fmt.Errorf("https: read answer: %w", err)
		}
		c.purse.put(res.Header.Get(headerNonce))
		switch {
		case res.StatusCode == http.StatusForbidden:
			return nil, nil, errRefused
		case res.StatusCode != http.StatusUnauthorized:
			return res, data, nil
		case try == 1:
			return nil, nil, errNonce
		}
	}
}

func (c *caller) try(ctx context.Context, method, op, query string, body []byte) (*http.Response, error) {
	t := target(c.device, op, query)
	req, err := http.NewRequestWithContext(ctx, method, c.prefix+t, nil)
	if err != nil {
		return nil, fmt.Errorf("https: request: %w", err)
	}
	// Not a *bytes.Reader, which net/http would send again by itself on a new connection:
	// a server that goes away would meet its whole fleet in the same moment, and nonces
	// are good once.
	req.Body = struct{ io.ReadCloser }{io.NopCloser(bytes.NewReader(body))}
	req.ContentLength = int64(len(body))
	req.Header.Set("User-Agent", "boothwire")
	if nonce := c.purse.take(); nonce != "" {
		authorization, err := sign(c.key, c.device, nonce, method, t, body)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", authorization)
	}
	res, err := c.client.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("https: %s %s: %w", method, op, err)
	}
	return res, nil
}

// purse holds the nonces for the next requests.
type purse struct {
	mu     sync.Mutex
	nonces []purseNonce // oldest first
}

type purseNonce struct {
	text string
	at   time.Time
}

const (
	purseDepth = 4
	// Nonces are not used in their last seconds, when they might expire on the way.
	purseLife = NonceLife - 15*time.Second
)

// put takes in the nonces of one response.
func (p *purse) put(header string) {
	if len(header) > purseDepth*(nonceText+2) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for text := range strings.SplitSeq(header, ",") {
		if text = strings.TrimSpace(text); len(text) != nonceText {
			continue
		}
		if len(p.nonces) == purseDepth {
			p.nonces = append(p.nonces[:0], p.nonces[1:]...)
		}
		p.nonces = append(p.nonces, purseNonce{text, time.Now()})
	}
}

// take returns the newest nonce if it still lasts, or "".
func (p *purse) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.nonces) - 1
	if last < 0 {
		return ""
	}
	n := p.nonces[last]
	if p.nonces = p.nonces[:last]; time.Since(n.at) >= purseLife {
		p.nonces = p.nonces[:0] // the others are older
		return ""
	}
	return n.text
}
