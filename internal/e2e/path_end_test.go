//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/nat"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/tunnel"
)

// tunnelEndEnv makes the test binary one end of a tunnel.
const tunnelEndEnv = "BOOTHWIRE_E2E_TUNNEL"

// A tunnelEnd is what one process of a path bench does: it holds one end of a tunnel,
// and the operator's sends numbered packets that the device's sends back. Offers go
// through the process that started both, one JSON message a line.
type tunnelEnd struct {
	Device  bool
	Key     string
	Far     string // the other end's key
	Secret  string // of the offers
	Own, To netip.Addr
	Relays  []keys.Relay   // none: no relay, and no direct path is looked for
	Node    netip.AddrPort // the far end's address, in place of both
	CA      string         // file
	STUN    []string
	Every   time.Duration // between two packets
	Listen  uint16
	Verbose bool // log to stderr
}

// A word is what an end and its starter tell each other.
type word struct {
	Offer []byte       `json:",omitempty"`
	Reset bool         `json:",omitempty"` // forget what was measured; answered by a Tally of before
	Tally *tunnelTally `json:",omitempty"`
}

// A tunnelTally is what an end has seen since the reset before.
type tunnelTally struct {
	Sent, Back int           // packets; the last 100 do not count as sent
	Gap        time.Duration // the longest time without an answer
	Path, Why  string
	Settled    bool // the path carries, and the others stand by
	Ready      bool // the tunnel is proved
}

func tunnelEndMain(text string) error {
	var e tunnelEnd
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	return e.run()
}

func (e *tunnelEnd) run() error {
	cfg, p, err := e.config()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	t, err := tunnel.Up(ctx, cfg)
	if err != nil {
		return err
	}
	defer t.Close()
	var c counter
	if !e.Device {
		go c.run(t, e.Every)
	}
	for in := json.NewDecoder(os.Stdin); ; {
		var w word
		if err := in.Decode(&w); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		switch {
		case w.Offer != nil:
			select {
			case p.in <- w.Offer:
			default: // nobody looks for a path, or too slowly
			}
		case w.Reset:
			p.say(word{Tally: c.tally(t)})
		}
	}
}

func (e *tunnelEnd) config() (*tunnel.Config, *pipes, error) {
	key, err := keys.ParsePrivateKey(e.Key)
	if err != nil {
		return nil, nil, err
	}
	far, err := keys.ParsePublicKey(e.Far)
	if err != nil {
		return nil, nil, err
	}
	pem, err := os.ReadFile(e.CA)
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	p := &pipes{in: make(chan []byte, 64), out: json.NewEncoder(os.Stdout)}
	c := &tunnel.Config{
		Role: tunnel.Operator, Key: key, Addresses: []netip.Addr{e.Own}, Idle: -1, Mode: tunnel.Driverless, Listen: e.Listen,
		Far: tunnel.Peer{Key: far, Allowed: []netip.Addr{e.To}, Proof: e.To},
	}
	log := zap.NewNop()
	if e.Verbose {
		log = must(zap.Config{
			Level: zap.NewAtomicLevelAt(zap.InfoLevel), Encoding: "console", OutputPaths: []string{"stderr"},
			EncoderConfig: zap.NewDevelopmentEncoderConfig(),
		}.Build())
	}
	c.Logger = log
	open := nat.Dial
	if e.Device {
		c.Role, c.Ports = tunnel.Device, []keys.Port{keys.UDP(echoPort)}
		c.Operators = []keys.Operator{{ID: "o", Key: far, Address: e.To, Ports: c.Ports}}
		c.Far.Initiates = !e.Node.IsValid()
		echo, err := net.ListenUDP("udp", nil)
		if err != nil {
			return nil, nil, err
		}
		go sendBack(echo)
		c.Services = map[keys.Port]string{keys.UDP(echoPort): netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(echo.LocalAddr().(*net.UDPAddr).Port)).String()}
		open = nat.Accept
	}
	if e.Node.IsValid() {
		c.Paths = []tunnel.Path{{Addr: e.Node}}
	}
	if len(e.Relays) > 0 {
		c.Paths = []tunnel.Path{
			{Name: "relay", Kind: tunnel.Relay, Open: func(ctx context.Context, _ net.PacketConn) (net.Conn, error) {
				return relay.Dial(ctx, e.Relays, key, &relay.Config{TLS: &tls.Config{RootCAs: pool}})
			}},
			{Name: "ice", Kind: tunnel.Direct, Open: func(ctx context.Context, sock net.PacketConn) (net.Conn, error) {
				for {
					n, err := open(ctx, sock, p, []byte(e.Secret), &nat.Config{STUN: e.STUN, Refuse: []netip.Prefix{netip.PrefixFrom(e.Own, 32), netip.PrefixFrom(e.To, 32)}, Logger: log})
					switch {
					case err == nil:
						return n, nil
					case !e.Device || !errors.Is(err, nat.ErrNoPath) || ctx.Err() != nil:
						return nil, err
					}
				}
			}},
		}
	}
	return c, p, nil
}

const echoPort = 3389

// sendBack returns every packet to where it came from.
func sendBack(c *net.UDPConn) {
	buf := make([]byte, 2000)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		_, _ = c.WriteToUDPAddrPort(buf[:n], from)
	}
}

// pipes are an end's nat.Exchanger, by way of its starter.
type pipes struct {
	in  chan []byte
	mu  sync.Mutex
	out *json.Encoder
}

func (p *pipes) say(w word) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(w)
}

func (p *pipes) SendOffer(_ context.Context, sealed []byte) error {
	p.say(word{Offer: sealed})
	return nil
}

func (p *pipes) ReceiveOffer(ctx context.Context) ([]byte, error) {
	select {
	case b := <-p.in:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A counter sends numbered packets and notes which come back.
type counter struct {
	mu   sync.Mutex
	sent uint32
	from uint32 // the first since the reset
	back map[uint32]bool
	last time.Time
	gap  time.Duration
}

func (c *counter) run(t *tunnel.Tunnel, every time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if t.Ready(ctx) != nil {
		return
	}
	conn, err := t.Dial(ctx, "udp", ":3389")
	if err != nil {
		return
	}
	c.mu.Lock()
	c.back, c.last = make(map[uint32]bool), time.Now()
	c.mu.Unlock()
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for range tick.C {
			c.mu.Lock()
			n := c.sent
			c.sent++
			c.mu.Unlock()
			if _, err := conn.Write(binary.BigEndian.AppendUint32(nil, n)); errors.Is(err, net.ErrClosed) {
				return
			}
		}
	}()
	buf := make([]byte, 100)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
			return
		}
		if n != 4 {
			continue
		}
		c.mu.Lock()
		now := time.Now()
		c.back[binary.BigEndian.Uint32(buf)] = true
		c.gap, c.last = max(c.gap, now.Sub(c.last)), now
		c.mu.Unlock()
	}
}

// tally returns what was seen, and begins anew. What was sent just now is counted the
// next time.
func (c *counter) tally(t *tunnel.Tunnel) *tunnelTally {
	s := t.Status()
	y := &tunnelTally{Path: string(s.Path), Why: s.Why, Ready: s.State == tunnel.Connected, Settled: s.State == tunnel.Connected}
	for _, w := range s.Ways {
		if w.State != tunnel.WayReady && w.State != tunnel.WayCarrying {
			y.Settled = false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.back == nil {
		return y
	}
	y.Gap = max(c.gap, time.Since(c.last))
	c.gap = 0
	const late = 100
	if c.sent < c.from+late {
		return y
	}
	for n := c.from; n < c.sent-late; n++ {
		y.Sent++
		if c.back[n] {
			y.Back++
		}
		delete(c.back, n)
	}
	c.from = c.sent - late
	return y
}
