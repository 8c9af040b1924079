package userspace

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// newPlane opens a plane; its own key is any that is none of the tests'.
func newPlane(t testing.TB, cfg Config) *Plane {
	t.Helper()
	cfg.PrivateKey = [32]byte{0: 8, 30: 7, 31: 64}
	cfg.Proof = netip.MustParseAddr(proofAddr)
	p, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// state is what wireguard-go holds: addresses of each peer, by the first byte of
// its key. It fails the test when a peer has a keepalive or an endpoint.
func state(t testing.TB, p *Plane) map[byte][]string {
	t.Helper()
	text, err := p.device.IpcGet()
	if err != nil {
		t.Fatal(err)
	}
	peers := make(map[byte][]string)
	var key byte
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "public_key":
			b, _ := hex.DecodeString(value)
			key = b[0]
			peers[key] = nil
		case "allowed_ip":
			peers[key] = append(peers[key], value)
		case "endpoint":
			t.Errorf("peer %d has an endpoint, %s", key, value)
		case "persistent_keepalive_interval":
			if value != "0" {
				t.Errorf("peer %d has a keepalive of %s s", key, value)
			}
		}
	}
	return peers
}

func expect(t testing.TB, p *Plane, what string, want map[byte][]string) {
	t.Helper()
	got := state(t, p)
	for _, list := range got {
		slices.Sort(list)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: peers %v, want %v", what, got, want)
	}
}

func TestPeers(t *testing.T) {
	p := newPlane(t, Config{})
	if port, _, err := p.Ports(); err != nil || port == 0 {
		t.Errorf("port %d, %v", port, err)
	}
	s := session("one")
	set := func() {
		t.Helper()
		if err := p.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	set()
	expect(t, p, "first", map[byte][]string{1: {devAddr + "/32"}, 2: {opAddr + "/32"}})
	set()
	expect(t, p, "again", map[byte][]string{1: {devAddr + "/32"}, 2: {opAddr + "/32"}})
	s.Operators = append(s.Operators, reach.Operator{Key: [32]byte{3}, Address: netip.MustParseAddr("10.166.200.2")})
	set()
	expect(t, p, "one more", map[byte][]string{1: {devAddr + "/32"}, 2: {opAddr + "/32"}, 3: {"10.166.200.2/32"}})
	// Two operators swap their addresses, and the device gets a second.
	s.Operators[0].Address, s.Operators[1].Address = s.Operators[1].Address, s.Operators[0].Address
	s.Device.Addresses = append(s.Device.Addresses, netip.MustParseAddr("10.166.1.2"))
	set()
	expect(t, p, "swapped", map[byte][]string{1: {devAddr + "/32", "10.166.1.2/32"}, 2: {"10.166.200.2/32"}, 3: {opAddr + "/32"}})
	s.Operators = s.Operators[1:]
	set()
	expect(t, p, "one less", map[byte][]string{1: {devAddr + "/32", "10.166.1.2/32"}, 3: {opAddr + "/32"}})
	other := session("two")
	if err := p.Set(other); err == nil {
		t.Error("another session took its addresses")
	}
	p.Remove("one")
	p.Remove("one")
	expect(t, p, "removed", map[byte][]string{})
	if len(p.watch.keys) != 0 || len(p.watch.owners) != 0 {
		t.Error("the watch remembers peers")
	}
}

// setKey sets s as a session whose device has that key.
func setKey(t *testing.T, p *Plane, s reach.Session, key byte) {
	t.Helper()
	s.Device.Key = [32]byte{key}
	if err := p.Set(s); err != nil {
		t.Fatal(err)
	}
}

func TestPendingKey(t *testing.T) {
	p := newPlane(t, Config{Patience: time.Hour})
	s := session("one")
	with := func(key byte) { t.Helper(); setKey(t, p, s, key) }
	both := func(pending byte) map[byte][]string {
		return map[byte][]string{1: {devAddr + "/32"}, 2: {opAddr + "/32"}, pending: nil}
	}
	with(1)
	with(7)
	expect(t, p, "pending", both(7))
	with(7)
	expect(t, p, "pending still", both(7))
	with(8)
	expect(t, p, "another", both(8))
	with(1)
	expect(t, p, "back to the first", map[byte][]string{1: {devAddr + "/32"}, 2: {opAddr + "/32"}})
	with(9)
	p.promote("one", [32]byte{8})
	expect(t, p, "a key given up proves itself", both(9))

	// wireguard-go's words for it, of the release in go.mod.
	peer := p.device.LookupPeer(device.NoisePublicKey{9})
	p.mu.Lock() // the promotion waits: both come while the key is pending
	p.watch.verbose("%v - Receiving keepalive packet", peer)
	p.watch.verbose("IPv4 packet with disallowed source address from %v", peer)
	p.mu.Unlock()
	p.watch.wait()
	want := map[byte][]string{2: {opAddr + "/32"}, 9: {devAddr + "/32"}}
	expect(t, p, "proved", want)
	if p.tally.Count(reach.Spoofed) != 0 {
		t.Error("a pending key's first packet counts as spoofed")
	}
	p.watch.verbose("IPv4 packet with disallowed source address from %v", peer)
	p.watch.wait()
	expect(t, p, "later", want)
	if p.tally.Count(reach.Spoofed) != 1 {
		t.Error("a spoofed packet was not counted")
	}
	with(10)
	p.Remove("one")
	expect(t, p, "removed while pending", map[byte][]string{})
}

// What the old key sends while another is pending proves nothing about that one.
func TestPendingKeyProves(t *testing.T) {
	proved := 0
	p := newPlane(t, Config{Patience: time.Hour, Proved: func(string) { proved++ }})
	s := session("one")
	r := newRouter(p.table, &p.tally, DefaultMTU, 0)
	defer r.Close()
	send := func() { r.Write([][]byte{segment(devAddr, opAddr, 22, 40000, 60)}, offset) }
	set := func(key byte) { t.Helper(); setKey(t, p, s, key) }
	set(1)
	set(7)
	send()
	if proved != 0 {
		t.Error("the old key proved the new one")
	}
	p.promote("one", [32]byte{7})
	send()
	send()
	if proved != 1 {
		t.Errorf("proved %d times, want 1", proved)
	}
}

// A handshake of the old key is none of the one that is pending.
func TestPendingKeyHandshakes(t *testing.T) {
	shook := 0
	p := newPlane(t, Config{Patience: time.Hour, Handshake: func(string) { shook++ }})
	s := session("one")
	set := func(key byte) { t.Helper(); setKey(t, p, s, key) }
	for _, step := range []struct {
		what string
		set  byte // the session's key from now on
		by   byte // who shakes hands
		want int  // times so far
	}{
		{"the first key", 1, 1, 1},
		{"the old one while another is pending", 7, 1, 1},
		{"the pending one", 7, 7, 2},
		{"the first again, which is named again", 1, 1, 3},
	} {
		set(step.set)
		p.watch.verbose("%v - Received handshake initiation", p.device.LookupPeer(device.NoisePublicKey{step.by}))
		if shook != step.want {
			t.Errorf("%s: %d handshakes, want %d", step.what, shook, step.want)
		}
	}
}

func TestPatienceEnds(t *testing.T) {
	p := newPlane(t, Config{Patience: 50 * time.Millisecond})
	s := session("one")
	if err := p.Set(s); err != nil {
		t.Fatal(err)
	}
	s.Device.Key = [32]byte{7}
	if err := p.Set(s); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); len(state(t, p)) == 3 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	expect(t, p, "after the patience", map[byte][]string{2: {opAddr + "/32"}, 7: {devAddr + "/32"}})
}

func TestClosedPlane(t *testing.T) {
	p := newPlane(t, Config{})
	s := session("one")
	if err := p.Set(s); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := p.Set(s); !errors.Is(err, net.ErrClosed) {
		t.Errorf("set after Close: %v", err)
	}
	p.Remove("one")
	p.Close()
}

func TestPortInUse(t *testing.T) {
	p := newPlane(t, Config{})
	port, _, _ := p.Ports()
	q, err := Open(Config{PrivateKey: [32]byte{0: 8, 31: 64}, Listen: port, Proof: netip.MustParseAddr(proofAddr)})
	if err == nil {
		q.Close()
		t.Error("two planes on one port")
	}
}
