package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/held"
)

// heldRoutes are those of sessions that this console holds. Each finds only what it
// holds for who asks.
func (c *Console) heldRoutes(mux *http.ServeMux) {
	route := func(pattern string, f func(http.ResponseWriter, *http.Request, *held.Session)) {
		mux.Handle(pattern, c.signedIn(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := c.held.Find(whoOf(r).User, r.PathValue("id"))
			if err != nil {
				c.refuseWith(w, r, err)
				return
			}
			f(w, r, s)
		})))
	}
	mux.Handle("GET /console/held", c.signedIn(http.HandlerFunc(c.listHeld)))
	route("GET /console/held/{id}", c.showHeld)
	route("GET /console/held/{id}/events", c.watchHeld)
	route("POST /console/held/{id}/extend", c.extendHeld)
	route("POST /console/held/{id}/leave", c.leaveHeld)
	route("POST /console/held/{id}/code", c.makeCode)
	route("GET /console/held/{id}/rdp", c.showRDP)
	route("GET /console/held/{id}/desktop", c.showDesktop)
	route("POST /console/held/{id}/guac", c.makeGuacCode)
}

// listHeld answers with the ids of what is held for who asks.
func (c *Console) listHeld(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, map[string][]string{"sessions": c.held.Of(whoOf(r).User)})
}

func (c *Console) showHeld(w http.ResponseWriter, _ *http.Request, s *held.Session) {
	answer(w, http.StatusOK, s.Status())
}

// keepAlive is how often a stream says something at least.
const keepAlive = 10 * time.Second

// watchHeld is a stream of events named "held", each a held.Status. It is a tab: the
// session is held as long as one is open.
func (c *Console) watchHeld(w http.ResponseWriter, r *http.Request, s *held.Session) {
	if tab, err := s.Tab(r.Context(), whoOf(r)); err == nil {
		defer tab.Close()
	} // else it is over, and what is left to say is how
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	said := time.Time{}
	say := func(text []byte) bool {
		said = time.Now()
		_ = rc.SetWriteDeadline(said.Add(writeLimit))
		_, err := w.Write(text)
		return err == nil && rc.Flush() == nil
	}
	var last []byte
	for v := range s.Watch(r.Context()) {
		now := v.Now
		v.Now = time.Time{} // is no change
		text, err := json.Marshal(v)
		if err != nil {
			return
		}
		switch {
		case !bytes.Equal(text, last):
			last, v.Now = text, now
			if text, err = json.Marshal(v); err != nil || !say(fmt.Appendf(nil, "event: held\ndata: %s\n\n", text)) {
				return
			}
		case time.Since(said) > keepAlive:
			if !say([]byte(":\n\n")) {
				return
			}
		}
	}
}

func (c *Console) extendHeld(w http.ResponseWriter, r *http.Request, s *held.Session) {
	var in client.ExtendRequest
	if !read(w, r, &in) {
		return
	}
	if err := s.Extend(r.Context(), in.Lifetime.Duration()); err != nil {
		c.refuseWith(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// leaveHeld answers when nothing of the session is left here.
func (c *Console) leaveHeld(w http.ResponseWriter, r *http.Request, s *held.Session) {
	if err := s.Leave(); err != nil {
		c.refuseWith(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// makeCode answers with a connect code, with which one WebSocket may be opened.
func (c *Console) makeCode(w http.ResponseWriter, r *http.Request, s *held.Session) {
	var in struct {
		Protocol held.Protocol `json:"protocol"`
	}
	if !read(w, r, &in) {
		return
	}
	code, err := s.Code(whoOf(r), in.Protocol)
	if err != nil {
		c.refuseWith(w, r, err)
		return
	}
	answer(w, http.StatusCreated, map[string]any{"code": code, "expires_s": int(held.CodeLife.Seconds())})
}

// answer is JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
