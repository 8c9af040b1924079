package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// Plane is the two interfaces, the table and the sessions on them. It is safe for
// concurrent use; one lock is held over every change, which makes this process the
// one writer that WireGuard's interface wants.
type Plane struct {
	cfg      Config
	wg       *wgctrl.Client
	links    *links
	firewall *firewall
	shaper   *shaper
	counter  *asker       // of bytes; mu guards it
	awaiter  *asker       // of who was heard of; the listener's own
	ledger   *reach.Table // whose an address is
	heard    *listener
	warden   *warden

	mu        sync.Mutex
	devices   peers
	operators peers
	sessions  map[string]*session
	turning   map[string][32]byte      // the next keys of devices, by session
	recent    map[netip.Addr]time.Time // devices awaited since a moment
	asked     time.Time                // when all of those were asked about
	proof     netip.Addr
	closed    bool
	counters  cache
}

// Open finds what a former process left, or makes it, and listens. Until Settle
// whatever was left goes on. It is errors.ErrUnsupported where the kernel has no
// WireGuard.
func Open(cfg Config) (*Plane, error) {
	cfg = cfg.settled()
	if !cfg.Pool.Addr().Is4() || !cfg.Proof.Is4() {
		return nil, fmt.Errorf("kernel: %v is no IPv4 pool with the proof address %v", cfg.Pool, cfg.Proof)
	}
	p := &Plane{
		cfg: cfg, proof: cfg.Proof, ledger: reach.NewTable(cfg.Proof, &reach.Tally{}, nil),
		sessions: make(map[string]*session), turning: make(map[string][32]byte), recent: make(map[netip.Addr]time.Time),
	}
	if err := p.open(); err != nil {
		p.abandon()
		return nil, err
	}
	p.cfg.PrivateKey = [32]byte{}
	var err error
	if p.warden, err = watch(p.firewall.table, p.mend); err != nil {
		p.abandon()
		return nil, err
	}
	p.heard = listen(p.hearRecent, p.hearAll)
	return p, nil
}

// open makes the parts from the inside out: what decides stands before anything can
// arrive.
func (p *Plane) open() (err error) {
	if p.wg, err = wgctrl.New(); err != nil {
		return fmt.Errorf("kernel: WireGuard: %w", err)
	}
	if p.links, err = openLinks(&p.cfg, p.wg); err != nil {
		return err
	}
	if p.firewall, err = openFirewall(p.cfg.Table); err != nil {
		return err
	}
	if p.counter, err = newAsker(p.firewall); err != nil {
		return err
	}
	if p.awaiter, err = newAsker(p.firewall); err != nil {
		return err
	}
	p.shaper = newShaper(p.links, p.cfg.Uplink)
	p.devices = peers{wg: p.wg, name: p.cfg.Devices}
	p.operators = peers{wg: p.wg, name: p.cfg.Operators}
	if err := errors.Join(p.devices.learn(), p.operators.learn(), p.links.learnRoutes(), p.firewall.learn(time.Now()), p.shaper.learn(p.firewall.classes)); err != nil {
		return err
	}
	if n := len(p.devices.have); n > 0 {
		p.cfg.Logger.Info("a former process left sessions", zap.Int("devices", n), zap.Int("operators", len(p.operators.have)))
	}
	if p.cfg.Uplink > 0 {
		if err := p.shaper.start(); err != nil {
			return err
		}
	}
	if err := p.program(); err != nil {
		return err
	}
	return p.links.raise(p.wg)
}

func (p *Plane) program() error {
	return p.firewall.program(ruling{
		devices: uint32(p.links.devices.Attrs().Index), operators: uint32(p.links.operators.Attrs().Index),
		proof: p.proof, mtu: p.cfg.MTU, shaped: p.shaper.on,
	})
}

// Settle takes away what a former process left and nobody set again.
func (p *Plane) Settle() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	devices, operators := make(map[wgtypes.Key]bool), make(map[wgtypes.Key]bool)
	ways, members := make(map[way]bool), make(map[netip.Addr]bool)
	classes, routes := make(map[uint16]bool), make(map[netip.Addr]bool)
	for _, s := range p.sessions {
		for _, key := range s.turn.Keys() {
			devices[key] = true
		}
		for _, w := range s.ways {
			ways[w] = true
		}
		for _, a := range s.now.Device.Addresses {
			members[a] = true
		}
		for _, o := range s.now.Operators {
			operators[o.Key], members[o.Address], routes[o.Address] = true, true, true
		}
		classes[s.class] = true
	}
	d := delta{alive: make(map[netip.Addr]time.Time), class: make(map[netip.Addr]uint16)}
	for w := range p.firewall.ways {
		if !ways[w] {
			d.shut = append(d.shut, w)
		}
	}
	for a := range p.firewall.alive {
		if !members[a] {
			d.alive[a] = time.Time{}
		}
	}
	for a := range p.firewall.unproved {
		if !members[a] {
			d.heard = append(d.heard, a)
		}
	}
	gone := make(map[uint16]bool)
	for a, class := range p.firewall.classes {
		if !members[a] {
			d.class[a] = 0
		}
		if !classes[class] {
			gone[class] = true
		}
	}
	err := p.firewall.apply(&d, time.Now())
	for class := range gone {
		p.shaper.end(class)
	}
	for a := range p.links.routes {
		if !routes[a] {
			p.links.unroute(a)
		}
	}
	return errors.Join(err, p.devices.keep(devices), p.operators.keep(operators))
}

// SetPool changes what range tunnel addresses are of, and the one at which the node
// answers echoes. The range of before still leads to devices, for those in it.
func (p *Plane) SetPool(pool netip.Prefix, proof netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !pool.Addr().Is4() || !proof.Is4() {
		return
	}
	if err := p.links.routePool(pool); err != nil {
		p.cfg.Logger.Error("the pool", zap.Error(err))
	}
	if proof == p.proof {
		return
	}
	old := p.proof
	p.proof = proof
	p.ledger.SetProof(proof)
	if err := errors.Join(p.program(), p.links.setProof(old, proof)); err != nil {
		p.cfg.Logger.Error("the proof address", zap.Error(err))
	}
}

// Ports returns the UDP ports of the two interfaces.
func (p *Plane) Ports() (devices, operators uint16, err error) {
	return p.links.port, p.links.entry, nil
}

// Drops counts what was dropped, by reason.
func (p *Plane) Drops() map[string]uint64 {
	all := p.counted()
	delete(all, reach.Pass.String())
	delete(all, reach.Answer.String())
	if n := p.links.spoofed(); n > 0 {
		all[reach.Spoofed.String()] = n
	}
	for why, n := range all {
		if n == 0 {
			delete(all, why)
		}
	}
	return all
}

// Passed counts the packets handed on and the echoes answered.
func (p *Plane) Passed() (forwarded, echoes uint64) {
	all := p.counted()
	return all[reach.Pass.String()], all[reach.Answer.String()]
}

func (p *Plane) counted() map[string]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		if all, err := p.firewall.counted(); err == nil {
			return all
		}
	}
	return make(map[string]uint64)
}

// Close takes everything away: peers first, for a link that ends with thousands of
// them takes minutes. It is idempotent.
func (p *Plane) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	for _, s := range p.sessions {
		s.turn.Stop()
	}
	clear(p.sessions)
	p.mu.Unlock()
	p.heard.stop()
	p.warden.stop()
	var errs []error
	for _, name := range []string{p.cfg.Devices, p.cfg.Operators} {
		if err := p.wg.ConfigureDevice(name, wgtypes.Config{ReplacePeers: true}); err != nil {
			errs = append(errs, fmt.Errorf("kernel: peers of %s: %w", name, err))
		}
	}
	p.links.close(p.links.devices, p.links.operators)
	errs = append(errs, p.firewall.drop())
	p.free()
	return errors.Join(errs...)
}

// Leave lets go of everything and takes nothing away: what goes on without this
// process does, until the next opens. It is idempotent, and so is Close after it.
func (p *Plane) Leave() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	for _, s := range p.sessions {
		s.turn.Stop()
	}
	p.mu.Unlock()
	p.heard.stop()
	p.warden.stop()
	p.links.close()
	p.free()
	return nil
}

// abandon leaves things as Open found them.
func (p *Plane) abandon() {
	if p.links != nil {
		p.links.close(p.links.made...)
	}
	if p.firewall != nil && !p.firewall.old {
		_ = p.firewall.drop()
	}
	p.free()
}

// free closes what this process holds.
func (p *Plane) free() {
	for _, a := range []*asker{p.counter, p.awaiter} {
		if a != nil {
			_ = a.close()
		}
	}
	if p.firewall != nil {
		p.firewall.close()
	}
	if p.wg != nil {
		_ = p.wg.Close()
	}
}
