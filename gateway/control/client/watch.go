package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"time"
)

// Control sends a comment every 10 s when nothing changes; a connection that has
// been silent for three of them is dead.
const silence = 30 * time.Second

// watch yields the data of a stream of server-sent events until last says that
// no more will come.
func watch[T any](ctx context.Context, c *Client, path string, last func(*T) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		w := watcher[T]{c: c, path: path}
		for fails := 0; ; fails++ {
			heard, done, err := w.once(ctx, yield, last)
			switch {
			case done:
				return
			case ctx.Err() != nil:
				yield(none, ctx.Err())
				return
			case refused(err):
				yield(none, err)
				return
			}
			if heard {
				fails = 0
			}
			// 0.1 s at first, 5 s at most, spread over the upper half.
			pause := min(100*time.Millisecond<<min(fails, 6), 5*time.Second)
			select {
			case <-time.After(pause/2 + rand.N(pause/2)):
			case <-ctx.Done():
			}
		}
	}
}

// refused reports whether asking again would bring the same answer.
func refused(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status < 500 && e.Status != http.StatusTooManyRequests
}

type watcher[T any] struct {
	c    *Client
	path string
	id   string // of the last event
}

// once follows one connection.
func (w *watcher[T]) once(ctx context.Context, yield func(T, error) bool, last func(*T) bool) (heard, done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.c.url+"/api/v1"+w.path, nil)
	if err != nil {
		return false, false, fmt.Errorf("control: %w", err)
	}
	req.Header.Set("Accept", "text/event-stream")
	if w.id != "" {
		req.Header.Set("Last-Event-ID", w.id)
	}
	if w.c.token != "" {
		req.Header.Set("Authorization", "Bearer "+w.c.token)
	}
	dead := time.AfterFunc(silence, cancel)
	defer dead.Stop()
	res, err := w.c.http.Do(req)
	if err != nil {
		return false, false, fmt.Errorf("control: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return false, false, refusal(res)
	}
	for e, err := range readEvents(alive{res.Body, dead}) {
		if err != nil {
			return heard, false, err
		}
		var v T
		if err := json.Unmarshal(e.data, &v); err != nil {
			return heard, false, fmt.Errorf("control: read an event: %w", err)
		}
		heard = true
		if e.id != "" {
			w.id = e.id
		}
		if !yield(v, nil) || last(&v) {
			return heard, true, nil
		}
	}
	return heard, false, io.ErrUnexpectedEOF
}

// alive puts off the end of a connection whenever something arrives.
type alive struct {
	io.Reader
	dead *time.Timer
}

func (a alive) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if n > 0 {
		a.dead.Reset(silence)
	}
	return n, err
}
