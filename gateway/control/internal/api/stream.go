package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/boothwire/boothwire/gateway/control/internal/auth"
)

const (
	keepAlive  = 10 * time.Second // clients give up after three
	writeLimit = 20 * time.Second
)

// event is one server-sent event; an id of 0 is not sent.
type event struct {
	name string
	id   uint64
	data any
}

// source waits for the next events of a stream, and says whether they are the last.
type source func(ctx context.Context, u auth.User) (list []event, last bool, err error)

// stream sends what next returns as server-sent events (HTML Living Standard,
// section 9.2), with comments that keep the connection alive.
func (s *service) stream(r *http.Request, w http.ResponseWriter, u auth.User, next source) error {
	ctx := r.Context()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{})
	say := func(text []byte) error {
		_ = rc.SetWriteDeadline(time.Now().Add(writeLimit))
		if _, err := w.Write(text); err != nil {
			return err
		}
		return rc.Flush()
	}
	if err := say([]byte(": hello\n\n")); err != nil {
		return err
	}
	for {
		wait, cancel := context.WithTimeout(ctx, keepAlive)
		list, last, err := next(wait, u)
		cancel()
		// The token may have ended meanwhile.
		still, refused := s.b.Authenticate(r)
		if refused != nil {
			return refused
		}
		u = still
		switch {
		case err == nil:
			var text bytes.Buffer
			for _, e := range list {
				data, err := json.Marshal(e.data)
				if err != nil {
					return err
				}
				fmt.Fprintf(&text, "event: %s\n", e.name)
				if e.id != 0 {
					fmt.Fprintf(&text, "id: %d\n", e.id)
				}
				fmt.Fprintf(&text, "data: %s\n\n", data)
			}
			if err := say(text.Bytes()); err != nil || last {
				return err
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			if err := say([]byte(":\n\n")); err != nil {
				return err
			}
		default:
			return err
		}
	}
}
