package desktop

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/firstuse"
	"github.com/boothwire/boothwire/internal/quota"
)

// A Tab leads to the device of one session, and ends with it.
type Tab interface {
	// Context ends with the tab, its login and its session.
	Context() context.Context
	// Err is why it has ended, a *client.Error for one.
	Err() error
	// Dial connects to a granted port of the device.
	Dial(ctx context.Context, port uint16) (net.Conn, error)
	Close()
}

// A Target is what a connect code stands for.
type Target struct {
	Tab
	User    string
	Session string
	Device  string
	RDP     string // SHA-256 of its certificate as the device signed it, in hex; empty: it did not
	SSH     string // SHA-256 of its SSH host key, as ssh-keygen -l writes it; empty: it signed none
}

// A Policy is what the deployment wants of desktops. Its zero value is strict.
type Policy struct {
	Plain  bool // servers without NLA too: the console sees the password
	Record bool // nothing that is not recorded
}

// Config of a Server. Redeem is required.
type Config struct {
	// Redeem takes the connect code that a request came with, once. Refusals are or
	// wrap a *client.Error.
	Redeem func(r *http.Request, code string) (*Target, error)
	// SameOrigin reports whether a page of this console made a request; default: Origin
	// is there, and is the request's host.
	SameOrigin func(r *http.Request) bool
	Policy     Policy
	// First are the certificates, as SHA-256 in hex, by which devices are known that signed
	// none; nil: such devices are refused.
	First  *firstuse.Pins
	Guacd  *Guacd // nil: IronRDP alone
	Most   int    // desktops at once; default 200
	Logger *zap.Logger
}

const (
	defaultMost = 200
	mostEach    = 16 // of one user at once: he leaves room for others
	// connect bounds everything before the desktop: the session may still be coming up.
	connect = 60 * time.Second
	// step bounds one answer of a peer that is there.
	step = 15 * time.Second
	// stalled is how long an end may take nothing of what is sent to it, or a browser
	// not answer a ping.
	stalled = 30 * time.Second
	// portRDP and portSSH are where a device answers.
	portRDP = 3389
	portSSH = 22
)

// Server answers both engines' WebSockets. It is safe for concurrent use.
type Server struct {
	cfg    Config
	log    *zap.Logger
	offers offers
	health health

	mu    sync.Mutex
	stats Stats
	open  quota.Each // by user
}

// Stats count since the start; all but Open only grow.
type Stats struct {
	Open    int               // desktops at present
	Opened  uint64            // that showed a desktop
	Ended   map[string]uint64 // WebSockets that ended, by the word of their end; refusals too
	FromDev uint64            // bytes of RDP or of instructions to browsers
	ToDev   uint64            // from browsers
}

// New returns a server of desktops.
func New(cfg *Config) *Server {
	s := &Server{cfg: *cfg, log: cfg.Logger, stats: Stats{Ended: make(map[string]uint64)}}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.cfg.SameOrigin == nil {
		s.cfg.SameOrigin = sameHost
	}
	if s.cfg.Most <= 0 {
		s.cfg.Most = defaultMost
	}
	s.offers.of = make(map[string]offer)
	return s
}

// sameHost reports whether the request names an origin, and one of its own host.
func sameHost(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return origin == "https://"+r.Host || origin == "http://"+r.Host
}

// Stats is a snapshot.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.stats
	v.Ended = make(map[string]uint64, len(s.stats.Ended))
	for word, n := range s.stats.Ended {
		v.Ended[word] = n
	}
	return v
}

// enter counts a user's desktop that is to be, unless there are too many.
func (s *Server) enter(user string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stats.Open >= s.cfg.Most || !s.open.Enter(user, mostEach) {
		return errFull
	}
	s.stats.Open++
	return nil
}

func (s *Server) leave(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Open--
	s.open.Leave(user)
}

// A visit is one WebSocket, for the log and the counters.
type visit struct {
	s        *Server
	engine   string
	began    time.Time
	target   *Target
	sum      string // of the certificate that the device showed
	shown    bool
	down, up uint64 // bytes to the browser and from it
}

// show notes that the desktop is there.
func (v *visit) show() {
	v.shown = true
	v.s.mu.Lock()
	v.s.stats.Opened++
	v.s.mu.Unlock()
	v.s.log.Info("desktop opened", v.fields()...)
}

// end notes why there is none, or no longer.
func (v *visit) end(why *client.Error) {
	v.s.mu.Lock()
	v.s.stats.Ended[v.s.counted(why.Code)]++
	v.s.stats.FromDev += v.down
	v.s.stats.ToDev += v.up
	v.s.mu.Unlock()
	fields := append(v.fields(), zap.String("code", why.Code), zap.Uint64("down", v.down), zap.Uint64("up", v.up), zap.Duration("after", time.Since(v.began)))
	if v.shown {
		v.s.log.Info("desktop closed", fields...)
	} else {
		v.s.log.Warn("desktop refused", append(fields, zap.String("detail", why.Detail))...)
	}
}

// maxWords bounds the words of ends that are counted each by itself: some come from
// devices.
const maxWords = 64

// counted is the word under which an end is counted; mu is held.
func (s *Server) counted(word string) string {
	if _, known := s.stats.Ended[word]; !known && len(s.stats.Ended) >= maxWords {
		return "others"
	}
	return word
}

func (v *visit) fields() []zap.Field {
	fields := []zap.Field{zap.String("engine", v.engine)}
	if t := v.target; t != nil {
		fields = append(fields, zap.String("user", t.User), zap.String("session", t.Session), zap.String("device", t.Device))
	}
	if v.sum != "" {
		fields = append(fields, zap.String("certificate", v.sum))
	}
	return fields
}
