package files

import (
	"context"
	"sync"

	"golang.org/x/time/rate"

	"github.com/boothwire/boothwire/gateway/control/console/internal/sshconn"
)

// A desk is the files of one SSH connection: an SFTP channel for folders and names, and
// one for each transfer, so that none waits for another.
type desk struct {
	conn *sshconn.Conn
	asks *rate.Limiter

	look    chan *line // one; whoever has it may use it
	move    chan *line // one for each transfer that is allowed
	mu      sync.Mutex
	home    string             // where the login begins; "": not asked yet
	uploads map[string]*upload // by target
}

func newDesk(conn *sshconn.Conn, cfg *Config) *desk {
	d := &desk{
		conn: conn, asks: rate.NewLimiter(rate.Limit(cfg.Requests), 2*cfg.Requests),
		look: make(chan *line, 1), move: make(chan *line, cfg.Transfers), uploads: make(map[string]*upload),
	}
	d.look <- new(line)
	for range cfg.Transfers {
		d.move <- new(line)
	}
	return d
}

// glance runs f with a client for folders and names. It waits for who does so already.
func (d *desk) glance(ctx context.Context, f func(*lease) error) error {
	select {
	case l := <-d.look:
		defer func() { d.look <- l }()
		return l.use(ctx, d.conn, lookBudget, f)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// transfer runs f with a client for contents. It is refused when all are in use.
func (d *desk) transfer(ctx context.Context, f func(*lease) error) error {
	select {
	case l := <-d.move:
		defer func() { d.move <- l }()
		return l.use(ctx, d.conn, 0, f)
	default:
		return errTransfers
	}
}
