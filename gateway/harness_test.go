package gateway

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"github.com/boothwire/boothwire/keys"
)

// authority signs grants as control would.
type authority struct {
	signer *keys.Signer
	roots  *keys.Roots
	text   string
}

func newAuthority(t testing.TB, issuer string) *authority {
	t.Helper()
	store := keys.NewMemory()
	root := must(keys.OpenIdentity(store, "root"))
	online := must(keys.OpenIdentity(store, "online"))
	record := must(keys.SignRecord(root, keys.Record{Issuer: issuer, ID: "control-1", Key: online.Key(), Scope: []string{keys.TypeGrant, keys.TypeDown, keys.TypeRelay}, Epoch: 1}))
	return &authority{
		signer: must(keys.NewSigner(online, record)),
		roots:  must(keys.ParseRoots(issuer, root.Key().String())),
		text:   root.Key().String(),
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (a *authority) sign(t testing.TB, g *keys.Grant) []byte {
	t.Helper()
	token, err := g.Sign(a.signer)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (a *authority) down(t testing.TB, session string) []byte {
	t.Helper()
	token, err := a.signer.Sign(keys.TypeDown, fmt.Appendf(nil, `{"session":%q,"device":"kiosk-1","why":"closed"}`, session))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// recorder gathers a node's events.
type recorder struct {
	mu   sync.Mutex
	list []Event
}

func (r *recorder) observe(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, e)
}

func (r *recorder) all() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Event(nil), r.list...)
}

func (r *recorder) find(kind, session string) (Event, bool) {
	for _, e := range r.all() {
		if e.Kind == kind && (e.Session == session || session == "") {
			return e, true
		}
	}
	return Event{}, false
}

func (r *recorder) count(kind string) (n int) {
	for _, e := range r.all() {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// patience is how long a test waits for what must come: WireGuard repeats what was lost
// after 5 s, and a busy machine stops a process for seconds.
const patience = time.Minute

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not in %v: %s", patience, what)
}

func wait(t testing.TB, r *recorder, kind, session string) Event {
	t.Helper()
	var e Event
	eventually(t, kind+" "+session, func() bool {
		var ok bool
		e, ok = r.find(kind, session)
		return ok
	})
	return e
}

// newNode opens a userspace node on loopback.
func newNode(t testing.TB, a *authority, cfg *Config) (*Node, *recorder) {
	t.Helper()
	r := &recorder{}
	c := Config{}
	if cfg != nil {
		c = *cfg
	}
	c.Observe = r.observe
	if c.Endpoints == nil {
		c.Endpoints = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	}
	n, err := Open(context.Background(), "wg-bj-01", a.roots, &c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, r
}

// end is a device or an operator: wireguard-go with a netstack of its own.
type end struct {
	key     keys.PrivateKey
	address netip.Addr
	device  *device.Device
	net     *netstack.Net
}

// up is newEnd that ends with the test.
func up(t testing.TB, far keys.FarEnd, key keys.PrivateKey, address string) *end {
	t.Helper()
	e := newEnd(t, far, key, address)
	t.Cleanup(e.down)
	return e
}

// newEnd starts an end whose tunnel leads to far. It accepts and sends anything,
// so that only the node stands between two ends.
func newEnd(t testing.TB, far keys.FarEnd, key keys.PrivateKey, address string) *end {
	t.Helper()
	e := &end{key: key, address: netip.MustParseAddr(address)}
	tun, network, err := netstack.CreateNetTUN([]netip.Addr{e.address}, nil, 1280)
	if err != nil {
		t.Fatal(err)
	}
	e.net = network
	e.device = device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	raw := must(exposed(key))
	text := fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=%s\nallowed_ip=0.0.0.0/0\n",
		hex.EncodeToString(raw[:]), hex.EncodeToString(far.Key[:]), far.Endpoints[0])
	if err := e.device.IpcSet(text); err != nil {
		t.Fatal(err)
	}
	if err := e.device.Up(); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *end) down() { e.device.Close() }

// handshakes is a word that changes with each of the end's handshakes.
func (e *end) handshakes() string {
	text, _, _ := strings.Cut(must(e.device.IpcGet()), "tx_bytes=")
	_, when, _ := strings.Cut(text, "last_handshake_time_sec=")
	return when
}

// ping sends echoes until a reply comes, and reports whether one did.
func (e *end) ping(to netip.Addr, within time.Duration) bool {
	for end := time.Now().Add(within); time.Now().Before(end); {
		if e.pingOnce(to, min(500*time.Millisecond, time.Until(end))) {
			return true
		}
	}
	return false
}

// pingOnce has a socket of its own and reads before it sends: netstack wakes only
// a reader that waits already, and only for the first packet of an empty buffer. Where
// the reader comes too late an answer is missed, so that silence says nothing.
func (e *end) pingOnce(to netip.Addr, within time.Duration) bool {
	c, err := e.net.DialPingAddr(e.address, to)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(within))
	replied := make(chan bool, 1)
	go func() {
		var b [64]byte
		_, err := c.Read(b[:])
		replied <- err == nil
	}()
	time.Sleep(20 * time.Millisecond)
	c.Write([]byte{8, 0, 0, 0, 0x12, 0x34, 0, 1, 'p', 'r', 'o', 'o', 'f'})
	return <-replied
}

// pair is a session of one device and one operator with all that goes with it.
type pair struct {
	grant            keys.Grant
	device, operator keys.PrivateKey
}

// newPair makes the i-th session: device 10.166.1.i, operator 10.166.200.i.
func newPair(n *Node, i int, ports ...keys.Port) *pair {
	p := &pair{device: keys.NewPrivateKey(), operator: keys.NewPrivateKey()}
	p.grant = keys.Grant{
		Session: fmt.Sprintf("session-%d", i), Rev: 1, Device: fmt.Sprintf("kiosk-%d", i),
		Prekey: p.device.Public(), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 166, byte(1 + i/250), byte(1 + i%250)})},
		Far:      n.FarEnd(),
		Lifetime: time.Hour, End: time.Now().Add(time.Hour).Truncate(time.Second).UTC(),
	}
	p.grant.Operators = []keys.Operator{{ID: "op", Key: p.operator.Public(), Address: netip.AddrFrom4([4]byte{10, 166, byte(200 + i/250), byte(1 + i%250)}), Ports: ports}}
	return p
}

// next returns the grant's next rev, changed.
func (p *pair) next(change func(g *keys.Grant)) *keys.Grant {
	p.grant.Rev++
	if change != nil {
		change(&p.grant)
	}
	return &p.grant
}

func (p *pair) devAddr() string { return p.grant.Addresses[0].String() }
func (p *pair) opAddr() string  { return p.grant.Operators[0].Address.String() }

func admit(t testing.TB, n *Node, a *authority, g *keys.Grant) {
	t.Helper()
	if err := n.Admit(context.Background(), a.sign(t, g)); err != nil {
		t.Fatal(err)
	}
}
