package https

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"go.uber.org/zap"
)

const (
	// A body of a few KiB that takes longer than this is not worth a goroutine.
	bodyTimeout = 15 * time.Second
	// How long one question to the queue may take.
	queueTimeout = 10 * time.Second
)

// Sender is control's end: it sends commands through a Queue, and serves the devices'
// polls and statuses as an http.Handler under any prefix. Safe for concurrent use.
//
// A parked poll over HTTP/1.1 is taken out of net/http (see [http.Hijacker]) and costs its
// connection and a few hundred bytes, no goroutine; behind a wrapper that allows no
// hijacking, and over HTTP/2, it costs a goroutine. [Server] is an http.Server fit for it.
type Sender struct {
	queue  Queue
	log    *zap.Logger
	nonces *nonces
	lot    lot
	fan    fan
}

var (
	_ signaling.Sender = (*Sender)(nil)
	_ http.Handler     = (*Sender)(nil)
)

// NewSender makes a Sender over q; of cfg it uses the Logger.
func NewSender(q Queue, cfg *Config) *Sender {
	s := &Sender{queue: q, log: cfg.withDefaults().Logger, nonces: newNonces()}
	s.lot.init()
	q.Notify(s.wake)
	return s
}

// Send puts a command into the device's queue. It returns once the queue has it, which
// says nothing about the device.
func (s *Sender) Send(ctx context.Context, device string, command []byte) error {
	switch {
	case !validID(device):
		return fmt.Errorf("https: device id %q is not [A-Za-z0-9._-]{1,64}", device)
	case len(command) == 0 || len(command) > signaling.MaxCommand:
		return fmt.Errorf("https: command of %d bytes, want 1 to %d", len(command), signaling.MaxCommand)
	}
	if err := s.queue.Push(ctx, device, command); err != nil {
		return fmt.Errorf("https: send to %s: %w", device, err)
	}
	return nil
}

// Statuses yields every status that arrives while it runs, each authentic as to its
// device. None is Retained, for nothing is kept here. Several may run, each
// gets all. While none runs, or one lags far, devices are told to try again later. A status
// may come twice, when the answer to its device was lost; a device's come in its order. It
// ends when ctx or the Sender does; what it had not yielded by then is lost to it.
func (s *Sender) Statuses(ctx context.Context) iter.Seq2[signaling.Message, error] {
	return func(yield func(signaling.Message, error) bool) {
		sub := s.fan.join()
		defer s.fan.leave(sub)
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.lot.closed:
				return
			case m := <-sub:
				if !yield(m, nil) {
					return
				}
			}
		}
	}
}

// Close ends every parked poll and refuses later requests with 503. The queue stays as it is.
func (s *Sender) Close() error {
	s.lot.close()
	return nil
}

// ServeHTTP serves the two calls of the package's wire.
func (s *Sender) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	c, err := parseCall(r.Method, r.URL.Path, r.URL.RawQuery)
	switch {
	case errors.Is(err, errPath):
		refuse(w, http.StatusNotFound)
		return
	case err != nil:
		refuse(w, http.StatusBadRequest)
		return
	}
	body, ok := readBody(w, r, c.op)
	if !ok || !s.authentic(w, r, c, body) {
		return
	}
	switch c.op {
	case opCommands:
		s.poll(w, r, c)
	case opStatus:
		s.status(w, c, body)
	}
}

// readBody reads the whole body, for the signature covers it.
func readBody(w http.ResponseWriter, r *http.Request, op string) ([]byte, bool) {
	limit := int64(signaling.MaxStatus)
	if op == opCommands {
		limit = 0
	}
	if r.ContentLength > limit {
		refuse(w, http.StatusRequestEntityTooLarge)
		return nil, false
	}
	if r.ContentLength == 0 {
		return nil, true
	}
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer rc.SetReadDeadline(time.Time{})
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		code := http.StatusBadRequest
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			code = http.StatusRequestEntityTooLarge
		}
		refuse(w, code)
		return nil, false
	}
	return body, true
}

// authentic checks that the device itself made this request, now and once; if not it
// answers.
func (s *Sender) authentic(w http.ResponseWriter, r *http.Request, c call, body []byte) bool {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		s.challenge(w, c)
		return false
	}
	cred, err := parseCredentials(headers[0])
	if err != nil || len(headers) > 1 {
		refuse(w, http.StatusBadRequest)
		return false
	}
	number, err := s.nonces.check(cred.nonce, c.device)
	if err != nil {
		s.challenge(w, c)
		return false
	}
	ctx, cancel := context.WithTimeout(r.Context(), queueTimeout)
	defer cancel()
	key, err := s.queue.DeviceKey(ctx, c.device)
	unknown := errors.Is(err, ErrUnknownDevice)
	if err != nil && !unknown {
		s.log.Warn("device key", zap.String("device", c.device), zap.Error(err))
		refuse(w, http.StatusServiceUnavailable)
		return false
	}
	// An unknown device is verified too, so that it takes as long as a known one.
	text := signedText(c.device, cred.nonce, r.Method, c.target, body)
	if !ed25519.Verify(key[:], text, cred.signature[:]) || unknown || key == (keys.IdentityKey{}) {
		s.log.Debug("refused", zap.String("device", c.device), zap.Bool("unknown", unknown))
		refuse(w, http.StatusForbidden)
		return false
	}
	if err := s.nonces.use(number); err != nil {
		s.challenge(w, c)
		return false
	}
	return true
}

func (s *Sender) challenge(w http.ResponseWriter, c call) {
	w.Header().Set("WWW-Authenticate", scheme)
	s.addNonces(w.Header(), c)
	refuse(w, http.StatusUnauthorized)
}

// addNonces hands out the nonces for the device's next requests.
func (s *Sender) addNonces(h http.Header, c call) {
	text := s.nonces.issue(c.device)
	if c.op == opCommands {
		text += ", " + s.nonces.issue(c.device)
	}
	h.Set(headerNonce, text)
}

func (s *Sender) status(w http.ResponseWriter, c call, body []byte) {
	s.addNonces(w.Header(), c)
	switch {
	case len(body) == 0:
		refuse(w, http.StatusBadRequest)
	case s.lot.isClosed() || !s.fan.send(signaling.Message{Device: c.device, Payload: body}):
		refuse(w, http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// refuse answers without a body: what there is to say is in the code.
func refuse(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(code)
}

// pull asks the queue for the poll's command.
func (s *Sender) pull(device string, after Mark) ([]byte, Mark, error) {
	ctx, cancel := context.WithTimeout(context.Background(), queueTimeout)
	defer cancel()
	command, at, err := s.queue.Pull(ctx, device, after)
	if err == nil && !validEpoch(at.Epoch) {
		err = errors.New("https: queue has a malformed epoch")
	}
	return command, at, err
}

// answer is what a poll gets.
func (s *Sender) answer(device string, command []byte, at Mark, err error) (int, http.Header, []byte) {
	h := http.Header{"Cache-Control": {"no-store"}}
	s.addNonces(h, call{device: device, op: opCommands})
	if err != nil {
		s.log.Warn("pull", zap.String("device", device), zap.Error(err))
		h.Set("Content-Length", "0")
		return http.StatusServiceUnavailable, h, nil
	}
	h.Set(headerEpoch, at.Epoch)
	if at.N == 0 {
		return http.StatusNoContent, h, nil
	}
	h.Set(headerCommand, strconv.FormatUint(at.N, 10))
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(len(command)))
	return http.StatusOK, h, command
}
