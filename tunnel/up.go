package tunnel

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/boothwire/boothwire/internal/bind"
	"github.com/boothwire/boothwire/tunnel/internal/adapter"
	"github.com/boothwire/boothwire/tunnel/internal/netstack"
	"github.com/boothwire/boothwire/tunnel/internal/reach"
	"github.com/boothwire/boothwire/tunnel/internal/watchdog"
)

// holdInitiation is how long an end waits for one that begins handshakes: two
// that begin at once cancel each other and lose five seconds.
const holdInitiation = time.Second

// The stages of Up, in order, for hooks.at.
const (
	stageConfig    = "config"
	stageTUN       = "tun"
	stageWireGuard = "wireguard"
	stageSocket    = "socket"
	stageAdapter   = "adapter"
	stageStart     = "start"
)

// Up brings a tunnel up and sends the first echo, which begins the handshake. It
// returns before anything is proved (see Ready). ctx bounds Up alone: when it
// ends first, Up leaves nothing behind and returns its error. Errors of the
// host's network are *DriverError. Sockets and TUN that cfg hands in belong to
// Up from here on, also when it fails.
func Up(ctx context.Context, cfg *Config) (*Tunnel, error) {
	c, err := cfg.copied()
	if err != nil {
		if cfg != nil {
			closeGiven(cfg)
		}
		return nil, err
	}
	t := &Tunnel{
		start:    time.Now(),
		log:      c.Logger.Named("tunnel"),
		hooks:    c.hooks,
		idle:     c.Idle,
		cfg:      c,
		state:    Connecting,
		since:    time.Now(),
		why:      "waiting for the first proof",
		calls:    make(chan func()),
		roamed:   make(chan roam, 16),
		updating: make(chan struct{}, 1),
		proved:   make(chan struct{}),
		done:     make(chan struct{}),
		addrIDs:  make(map[netip.AddrPort]int),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	if c.Lifetime > 0 {
		t.end = c.Lifetime
	}
	t.snapshot.mtu = c.mtu()
	// A caller's TUN has an MTU that is not the tunnel's to change.
	t.sizer = watchdog.NewSizer(c.mtu(), c.MTU != 0 || c.TUN != nil)
	if err := t.bringUp(ctx, c); err != nil {
		t.cancel()
		t.release()
		return nil, err
	}
	t.work.Go(t.takeRenewals)
	go t.run()
	return t, nil
}

func (c *Config) mtu() int {
	if c.MTU != 0 {
		return c.MTU
	}
	return defaultMTU
}

// givenBatch is how many packets are read at once for a caller's socket, which takes
// them one by one anyhow. Each needs a buffer for the largest packet, and thousands of
// such tunnels may share a process: 8 take 0.5 MiB, 128 would take 8.
const givenBatch = 8

// batch is how many packets a stack gives at once; 0: as many as is best.
func (c *Config) batch() int {
	if c.Socket != nil {
		return givenBatch
	}
	return 0
}

// closeGiven closes what a config that was refused brought along.
func closeGiven(c *Config) {
	if c.Socket != nil {
		_ = c.Socket.Close()
	}
	if c.TUN != nil {
		_ = c.TUN.Close()
	}
}

// at passes a stage: it reports ctx's error when that has ended.
func (t *Tunnel) at(ctx context.Context, stage string) error {
	if t.hooks.at != nil {
		t.hooks.at(ctx, stage)
	}
	return ctx.Err()
}

// bringUp makes the parts in order; whatever it leaves, release takes down.
func (t *Tunnel) bringUp(ctx context.Context, c *Config) error {
	if err := t.at(ctx, stageConfig); err != nil {
		closeGiven(c)
		return err
	}
	t.echo = newEcho()
	inner, err := t.open(c)
	if err != nil {
		if c.Socket != nil {
			_ = c.Socket.Close()
		}
		return err
	}
	t.filter = reach.NewFilter(c.rules(c.Far), t.echo)
	t.gate = reach.NewDevice(inner, t.filter, t.start)
	t.bind = t.newBind(c)
	// From here on the device owns TUN and socket, and closes both.
	t.dev = device.NewDevice(t.gate, t.bind, wireguardLog(t.log))
	if err := t.at(ctx, stageTUN); err != nil {
		return err
	}
	t.far = t.newFar(c)
	if err := t.configure(interfaceLines(c) + t.far.addLines(c.Far.Allowed)); err != nil {
		return err
	}
	if err := t.at(ctx, stageWireGuard); err != nil {
		return err
	}
	if err := t.dev.Up(); err != nil {
		return &DriverError{"socket", err}
	}
	if err := t.at(ctx, stageSocket); err != nil {
		return err
	}
	if t.nic != nil {
		if err := t.nic.Up(c.Addresses, c.Far.Allowed); err != nil {
			return &DriverError{"adapter", err}
		}
	}
	if err := t.at(ctx, stageAdapter); err != nil {
		return err
	}
	return t.at(ctx, stageStart)
}

func newEcho() reach.Echo {
	var b [2 + reach.TokenSize]byte
	rand.Read(b[:])
	return reach.Echo{ID: binary.BigEndian.Uint16(b[:2]), Token: [reach.TokenSize]byte(b[2:])}
}

// open makes what the mode asks for: the caller's TUN, an adapter or a stack.
func (t *Tunnel) open(c *Config) (tun.Device, error) {
	if c.TUN != nil {
		t.mode = Adapter
		return c.TUN, nil
	}
	if c.Mode == Adapter || c.Mode == Auto && c.Role == Device && len(c.Services) == 0 {
		nic, err := adapter.Create(c.Name, c.mtu(), c.Addresses, c.Far.Allowed)
		if err == nil {
			t.mode, t.nic = Adapter, nic
			return nic.Device(), nil
		}
		if c.Mode == Adapter {
			op := "adapter"
			if errors.Is(err, adapter.ErrOverlap) {
				op = "overlap"
			}
			return nil, &DriverError{op, err}
		}
		t.log.Info("no adapter, going on without one", errField(err))
	}
	stack, err := netstack.New(netstack.Config{Addresses: c.Addresses, MTU: c.mtu(), Batch: c.batch(), Service: t.service})
	if err != nil {
		return nil, &DriverError{"netstack", err}
	}
	t.mode, t.stack = Driverless, stack
	return stack.Device(), nil
}

func (t *Tunnel) newBind(c *Config) *bind.Bind {
	b := bind.Config{Adopted: func(id string, addr netip.AddrPort) {
		select {
		case t.roamed <- roam{id, addr}:
		default: // run is behind; the bind sends there all the same
		}
	}}
	if c.Far.Initiates {
		b.HoldInitiation = holdInitiation
	}
	if c.Socket != nil {
		return bind.NewPacketConn(c.Socket, b)
	}
	return bind.New(nil, b)
}

// release takes down whatever bringUp made, in the order in which nothing is cut
// off that still has something to say.
func (t *Tunnel) release() {
	t.sockets.end()
	if t.stack != nil {
		_ = t.stack.Close()
	}
	if t.dev != nil {
		t.dev.Close()
		<-t.dev.Wait()
		// wireguard-go keeps its key until it is collected.
		_ = t.dev.IpcSet("private_key=" + strings.Repeat("0", 64) + "\n")
	}
	if t.nic != nil {
		_ = t.nic.Close()
	}
	if s := t.cfg.Socket; s != nil && t.dev != nil {
		_ = s.Close()
	}
}
