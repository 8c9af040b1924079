package files

import (
	"context"
	"net/http"
	"strconv"
	"sync"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/console/internal/sshconn"
)

// Config of a Handler.
type Config struct {
	// Open opens a tab of a request's session for its login, and returns their SSH
	// connection, nil where nobody has signed in. Its error is or wraps a *client.Error.
	Open func(r *http.Request) (Tab, *sshconn.Conn, error)

	Logger    *zap.Logger // who got, brought and changed what; default silent
	Largest   int64       // bytes of a file that is uploaded; default 8 GiB
	Transfers int         // of one connection at once; default 4, at most 4
	Requests  int         // of one connection in a second, twice as many at once; default 20
}

const (
	defaultLargest   = 8 << 30
	defaultTransfers = 4 // with one more for folders half of what OpenSSH allows a connection
	defaultRequests  = 20
)

// A Tab is one request's part in a held session.
type Tab interface {
	// Context ends with the request, its login and its session.
	Context() context.Context
	Close()
}

// A Handler serves files.
type Handler struct {
	cfg Config

	mu    sync.Mutex
	desks map[*sshconn.Conn]*desk
}

// New returns a handler of paths that end in /files and below.
func New(cfg Config) *Handler {
	if cfg.Largest <= 0 {
		cfg.Largest = defaultLargest
	}
	if cfg.Transfers <= 0 || cfg.Transfers > defaultTransfers {
		cfg.Transfers = defaultTransfers
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Requests <= 0 {
		cfg.Requests = defaultRequests
	}
	return &Handler{cfg: cfg, desks: make(map[*sshconn.Conn]*desk)}
}

// A call is what one route does; it answers unless it returns an error.
type call func(d *desk, w http.ResponseWriter, r *http.Request) error

// serve finds the request's desk for a call.
func (h *Handler) serve(f call) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tab, conn, err := h.cfg.Open(r)
		if err != nil {
			refuse(w, err)
			return
		}
		defer tab.Close()
		if conn == nil {
			refuse(w, errSignIn)
			return
		}
		d := h.desk(conn)
		if !d.asks.Allow() {
			refuse(w, errFast)
			return
		}
		if err := f(d, w, r.WithContext(tab.Context())); err != nil {
			refuse(w, err)
		}
	})
}

// Routes registers what the handler serves below a pattern such as
// "/console/held/{session}".
func (h *Handler) Routes(below string, handle func(pattern string, handler http.Handler)) {
	handle("GET "+below+"/files", h.serve(h.list))
	handle("DELETE "+below+"/files", h.serve(h.remove))
	handle("GET "+below+"/files/content", h.serve(h.download))
	handle("PUT "+below+"/files/content", h.serve(h.upload))
	handle("GET "+below+"/files/sum", h.serve(h.sum))
	handle("GET "+below+"/files/upload", h.serve(h.resume))
	handle("DELETE "+below+"/files/upload", h.serve(h.cancel))
	handle("POST "+below+"/files/mkdir", h.serve(h.mkdir))
	handle("POST "+below+"/files/rename", h.serve(h.rename))
}

// desk returns that of a connection; it goes with it.
func (h *Handler) desk(conn *sshconn.Conn) *desk {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.desks {
		if c.Err() != nil {
			delete(h.desks, c)
		}
	}
	d := h.desks[conn]
	if d == nil {
		d = newDesk(conn, &h.cfg)
		h.desks[conn] = d
	}
	return d
}

// note logs what somebody did to a path.
func (h *Handler) note(d *desk, what, path string, more ...zap.Field) {
	h.cfg.Logger.Info(what, append(more, zap.String("device", d.conn.Device), zap.String("account", d.conn.User), zap.String("path", show(path)))...)
}

// number reads a number of a query, def where it is missing.
func number(r *http.Request, name string, def, most int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return def, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, errNumber
	}
	return n, nil
}
