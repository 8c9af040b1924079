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

// maxWatching is how often a user may follow the devices at a time: each may wait with a
// whole fleet for a reader that takes little of it, and a page needs one.
const maxWatching = 256

// event is one server-sent event; an id of 0 is not sent. Data that is a
// json.RawMessage is sent as it is, and has no line breaks.
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
			if err := sayEvents(list, say); err != nil || last {
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

// atOnce is about the most that is written in one piece: a slow reader has writeLimit
// for each.
const atOnce = 64 << 10

func sayEvents(list []event, say func([]byte) error) error {
	var text bytes.Buffer
	for i, e := range list {
		data, ready := e.data.(json.RawMessage)
		if !ready {
			var err error
			if data, err = json.Marshal(e.data); err != nil {
				return err
			}
		}
		fmt.Fprintf(&text, "event: %s\n", e.name)
		if e.id != 0 {
			fmt.Fprintf(&text, "id: %d\n", e.id)
		}
		text.WriteString("data: ")
		text.Write(data)
		text.WriteString("\n\n")
		if text.Len() < atOnce && i < len(list)-1 {
			continue
		}
		if err := say(text.Bytes()); err != nil {
			return err
		}
		text.Reset()
	}
	return nil
}
