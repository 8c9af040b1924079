package userspace

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/bind"
)

// DefaultMTU fits every path that carries IPv6, so no probe is needed to be safe.
const DefaultMTU = 1280

// Config is what Open needs.
type Config struct {
	PrivateKey [32]byte             // the node's WireGuard key; required
	Listen     uint16               // UDP port; 0: any free one
	Proof      netip.Addr           // where the node answers echoes; required
	MTU        int                  // of the tunnel, bytes; 0: DefaultMTU
	Uplink     int64                // bit/s of all sessions, from devices and to them each; 0: no limit
	Bind       conn.Bind            // nil: bind.Default()
	Handshake  func(session string) // the device began one; must not block
	Proved     func(session string) // first authenticated packet of the device; must not block
	Patience   time.Duration        // for a new device key to prove itself; 0: 60 s
	Logger     *zap.Logger          // nil: silent
}

// Plane is one WireGuard device and the sessions on it. It is safe for
// concurrent use. Lock order: Plane.mu, then wireguard-go's own; watch has its
// own lock and never holds another.
type Plane struct {
	cfg    Config
	device *device.Device
	table  *reach.Table
	tally  reach.Tally
	router *router
	watch  *watch
	calls  calls

	mu       sync.Mutex
	sessions map[string]*peers
	closed   bool
}

// Open listens and returns a plane without sessions.
func Open(cfg Config) (*Plane, error) {
	if cfg.MTU == 0 {
		cfg.MTU = DefaultMTU
	}
	if cfg.Patience == 0 {
		cfg.Patience = time.Minute
	}
	if cfg.Bind == nil {
		cfg.Bind = bind.Default()
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	p := &Plane{cfg: cfg, sessions: make(map[string]*peers), calls: calls{stop: make(chan struct{})}}
	p.table = reach.NewTable(cfg.Proof, &p.tally, cfg.Proved)
	p.watch = newWatch(p, cfg.Logger)
	p.router = newRouter(p.table, &p.tally, cfg.MTU, cfg.Uplink)
	p.device = device.NewDevice(p.router, cfg.Bind, p.watch.logger())
	err := p.device.IpcSet(fmt.Sprintf("private_key=%s\nlisten_port=%d\n", hex.EncodeToString(cfg.PrivateKey[:]), cfg.Listen))
	if err == nil {
		err = p.device.Up()
	}
	if err != nil {
		p.device.Close()
		return nil, fmt.Errorf("userspace: listen on port %d: %w", cfg.Listen, err)
	}
	p.cfg.PrivateKey = [32]byte{}
	return p, nil
}

// Close takes down every peer and the socket, and waits for the goroutines.
func (p *Plane) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, s := range p.sessions {
		s.turn.Stop()
	}
	clear(p.sessions)
	p.mu.Unlock()
	p.calls.once.Do(func() { close(p.calls.stop) })
	p.device.Close()
	p.watch.wait()
	return nil
}

// Leave is Close: nothing goes on without this process.
func (p *Plane) Leave() error { return p.Close() }

// Ports returns the UDP port that the plane listens on, twice: it is one for all.
func (p *Plane) Ports() (devices, operators uint16, err error) {
	text, err := p.device.IpcGet()
	if err != nil {
		return 0, 0, fmt.Errorf("userspace: %w", err)
	}
	for line := range strings.Lines(text) {
		if port, ok := strings.CutPrefix(strings.TrimSpace(line), "listen_port="); ok {
			n, err := strconv.ParseUint(port, 10, 16)
			return uint16(n), uint16(n), err
		}
	}
	return 0, 0, nil
}

// Settle has nothing to do: a process leaves nothing of this plane behind.
func (p *Plane) Settle() error { return nil }

// SetPool changes the address at which the node answers echoes; what range it is of makes
// no difference here.
func (p *Plane) SetPool(_ netip.Prefix, proof netip.Addr) { p.table.SetProof(proof) }

// Counters returns the bytes of a session so far.
func (p *Plane) Counters(session string) reach.Counters { return p.table.Counters(session) }

// Drops counts what was dropped, by reason.
func (p *Plane) Drops() map[string]uint64 { return p.tally.Drops() }

// Passed counts the packets handed on and the echoes answered.
func (p *Plane) Passed() (forwarded, echoes uint64) {
	return p.tally.Count(reach.Pass), p.tally.Count(reach.Answer)
}
