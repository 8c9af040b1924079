package https

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/boothwire/boothwire/internal/sysproxy"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"go.uber.org/zap"
)

// Listener is a device's end. Make it with [NewListener]; one Listen runs at a time.
type Listener struct {
	device string
	caller *caller
	outbox *outbox
	cfg    Config
	marks  marks
	links  func() links
	before links // at the last poll
	busy   atomic.Bool
}

var _ signaling.Listener = (*Listener)(nil)

// NewListener makes a device's end towards the server at an https URL (http for a
// loopback address only). Its path is the prefix that the server's [Sender] is mounted
// under, "/device/" if it is empty.
func NewListener(device *keys.Device, server string, cfg *Config) (*Listener, error) {
	return newListener(device.ID(), device.Signer(), server, cfg)
}

func newListener(device string, key crypto.Signer, base string, cfg *Config) (*Listener, error) {
	c := cfg.withDefaults()
	prefix, server, err := parseBase(base)
	if err != nil {
		return nil, err
	}
	if !validID(device) {
		return nil, fmt.Errorf("https: device id %q is not [A-Za-z0-9._-]{1,64}", device)
	}
	return &Listener{
		device: device,
		caller: &caller{device: device, key: key, prefix: prefix, client: newClient(server, &c)},
		outbox: newOutbox(),
		cfg:    c,
		links:  localLinks,
	}, nil
}

// parseBase returns the prefix of every request, and the server's name or address.
func parseBase(base string) (prefix, server string, err error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", "", fmt.Errorf("https: server's URL: %w", err)
	}
	if u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", "", errors.New("https: server's URL: want https://host/prefix/")
	}
	ip, _ := netip.ParseAddr(u.Hostname())
	loopback := ip.IsLoopback() || u.Hostname() == "localhost"
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback) {
		return "", "", fmt.Errorf("https: server's URL: scheme %q, want https", u.Scheme)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/device/"
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	return u.String(), u.Hostname(), nil
}

// Publish queues a status; it never blocks. Of retained ones the latest counts, of others
// the oldest goes when 64 wait. What waits is sent, in order, while the line is up.
func (l *Listener) Publish(status []byte, retain bool) {
	if len(status) == 0 || len(status) > signaling.MaxStatus {
		l.cfg.Logger.Warn("status not sent", zap.Int("bytes", len(status)), zap.Int("most", signaling.MaxStatus))
		return
	}
	l.outbox.put(status, retain)
}

// Listen polls, and posts what is published, until ctx ends; what was published before
// that is still sent, for at most 2 s, if the line is up. It returns ctx's error. After
// a failure it comes back by itself: the first attempt within Config.Spread, then with
// pauses up to a minute, and of minutes when the server refuses this device.
func (l *Listener) Listen(ctx context.Context, sink signaling.Sink) error {
	if l.busy.Swap(true) {
		return errors.New("https: listener already runs")
	}
	defer l.busy.Store(false)
	defer l.caller.client.CloseIdleConnections()

	pause := backoff{spread: l.cfg.Spread}
	for {
		began := time.Now()
		accepted, err := l.session(ctx, sink)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		lived := time.Duration(0)
		if accepted {
			lived = time.Since(began)
		}
		refused := errors.Is(err, errRefused)
		wait := pause.next(lived, refused)
		l.cfg.Logger.Info("line down", zap.String("device", l.device), zap.Duration("retry", wait), zap.Error(err))
		// A connection may have been pooled on the link that failed.
		l.caller.client.CloseIdleConnections()
		if err := l.sleep(ctx, wait, refused); err != nil {
			return err
		}
	}
}

// sleep waits, but not longer than linkSpread once this machine's addresses are others
// than they were at the last poll.
func (l *Listener) sleep(ctx context.Context, wait time.Duration, refused bool) error {
	end := time.Now().Add(wait)
	moved := refused
	for {
		if !moved && l.links().movedFrom(l.before) {
			moved = true
			if soon := time.Now().Add(uniform(min(linkSpread, l.cfg.Spread))); soon.Before(end) {
				end = soon
			}
		}
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(left, linkPeriod)):
		}
	}
}

// session is one life of the line: from the first accepted poll to a failed one.
func (l *Listener) session(ctx context.Context, sink signaling.Sink) (accepted bool, err error) {
	var stop func()
	defer func() {
		if accepted {
			stop()
		}
		sink.Connected(false)
	}()
	// The first poll waits for nothing, for the line is up when it was answered.
	wait := time.Duration(0)
	longest := l.cfg.Poll
	again := false
	for quick := 0; ; wait = around(longest) {
		began := time.Now()
		l.before = l.links()
		a, err := l.caller.poll(ctx, l.marks.last(), wait, l.links)
		if tooLong(err) && accepted && longest > shortestPoll {
			longest = max(longest/2, shortestPoll)
			continue
		}
		if stale(err) && accepted && !again && ctx.Err() == nil && time.Since(began) < staleWithin {
			again = true
			l.caller.client.CloseIdleConnections()
			continue
		}
		if err != nil {
			return accepted, err
		}
		again = false
		if !accepted {
			accepted = true
			stop = l.startPosting(ctx)
			sink.Connected(true)
		}
		switch {
		case l.marks.fresh(a.mark):
			quick = 0
			if len(a.command) <= signaling.MaxCommand {
				sink.Deliver(signaling.Message{Device: l.device, Payload: a.command})
			}
		case time.Since(began) >= wait/2:
			quick = 0
		case quick == quickPolls:
			return accepted, errors.New("https: polls return early")
		default:
			quick++
		}
	}
}

const (
	// A proxy that answers for the server after a time of its own is met by shorter polls.
	shortestPoll = 5 * time.Second
	// A poll that fails so early, while the line is up, met a connection that had been closed
	// since the poll before, and may be made again at once. Of a fleet whose server dies, 1 in
	// 50 devices does that.
	staleWithin = time.Second
	// So many polls in a row may come back early with nothing before the line counts as down.
	quickPolls = 3
)

// stale tells that no answer came at all.
func stale(err error) bool {
	_, answered := errors.AsType[statusError](err)
	return err != nil && !answered && !errors.Is(err, errRefused) && !errors.Is(err, errNonce)
}

// tooLong tells that something between here and the server gave up waiting for it.
func tooLong(err error) bool {
	code, ok := errors.AsType[statusError](err)
	return ok && (code == http.StatusGatewayTimeout || code == http.StatusRequestTimeout)
}

func newClient(server string, cfg *Config) *http.Client {
	client := &http.Client{}
	if cfg.Client != nil {
		*client = *cfg.Client
	} else {
		client.Transport = newTransport(server, cfg)
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Timeout = 0
	return client
}

func newTransport(server string, cfg *Config) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	dialer := &net.Dialer{Timeout: connectTimeout}
	return &http.Transport{
		Proxy:                  sysproxy.For,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        clientTLS(server, cfg),
		TLSHandshakeTimeout:    connectTimeout,
		Protocols:              &protocols,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        20 * time.Second,
		MaxResponseHeaderBytes: 8 << 10,
		WriteBufferSize:        4 << 10,
		ReadBufferSize:         4 << 10,
	}
}
