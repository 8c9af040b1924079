package bind

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/boothwire/boothwire/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// far adds a peer with the given paths.
func far(b *Bind, primary, also string) *Peer {
	p := b.AddPeer("far")
	var second netip.AddrPort
	if also != "" {
		second = addr(also)
	}
	p.SetPaths(addr(primary), second)
	return p
}

// wantSent checks where the packets since the last check went, in order.
func wantSent(t *testing.T, f *fakeInner, want ...string) {
	t.Helper()
	got := f.take()
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		ok = got[i].to == addr(want[i])
	}
	if !ok {
		t.Errorf("sent %v, want to %v", got, want)
	}
}

func send(t *testing.T, b *Bind, ep conn.Endpoint, msgs ...[]byte) {
	t.Helper()
	if err := b.Send(msgs, ep); err != nil {
		t.Fatal(err)
	}
}

// receive passes arrivals through the receiver.
func receive(t *testing.T, f *fakeInner, r *reader, as ...arrival) {
	t.Helper()
	f.batches <- as
	if n, err := r.read(); n != len(as) || err != nil {
		t.Fatalf("received %d, %v", n, err)
	}
}

func TestParseEndpoint(t *testing.T) {
	b, _, _ := opened(t, Config{})
	p := b.AddPeer("far")
	if again := b.AddPeer("far"); again != p {
		t.Error("a second peer of the same id")
	}
	ep, err := b.ParseEndpoint("peer:far")
	if err != nil || ep != conn.Endpoint(p.ep) {
		t.Errorf("peer:far is %v, %v", ep, err)
	}
	if _, err := b.ParseEndpoint("peer:other"); err == nil {
		t.Error("an unknown peer has an endpoint")
	}
	if ep, err := b.ParseEndpoint(addrA); err != nil || ep.DstToString() != addrA {
		t.Errorf("%s is %v, %v", addrA, ep, err)
	}
	b.RemovePeer("far")
	b.RemovePeer("far")
	if _, err := b.ParseEndpoint("peer:far"); err == nil {
		t.Error("a removed peer has an endpoint")
	}
}

func TestEndpointIsTheSameOnEveryPath(t *testing.T) {
	b, _, _ := opened(t, Config{})
	p, other := far(b, addrA, ""), b.AddPeer("other")
	ip, mac2 := p.ep.DstIP(), p.ep.DstToBytes()
	if got := p.ep.DstToString(); got != addrA {
		t.Errorf("shown as %s, want %s", got, addrA)
	}
	p.SetPath(addr(addrB))
	if p.ep.DstIP() != ip || !bytes.Equal(p.ep.DstToBytes(), mac2) {
		t.Error("the path shows in what WireGuard limits and authenticates by")
	}
	if other.ep.DstIP() == ip || bytes.Equal(other.ep.DstToBytes(), mac2) {
		t.Error("two peers share a budget")
	}
	p.ClearPath()
	if _, err := netip.ParseAddrPort(p.ep.DstToString()); err != nil {
		t.Errorf("without a path: %v", err)
	}
}

func TestSendFollowsThePath(t *testing.T) {
	b, f, _ := opened(t, Config{})
	p := b.AddPeer("far")
	data := [][]byte{transport(1, 1), transport(1, 2)}
	send(t, b, p.ep, data...)
	wantSent(t, f)
	if got := p.Stats().Dropped; got != 2 {
		t.Errorf("%d dropped without a path, want 2", got)
	}
	p.SetPath(addr(addrA))
	send(t, b, p.ep, data...)
	wantSent(t, f, addrA, addrA)
	p.SetPaths(addr(addrB), addr(addrA))
	send(t, b, p.ep, data[0])
	wantSent(t, f, addrB, addrA)
	p.SetPaths(addr(addrB), addr(addrB))
	send(t, b, p.ep, data[0])
	wantSent(t, f, addrB)
	p.SetPath(addr("[::ffff:192.0.2.3]:3000"))
	send(t, b, p.ep, data[0])
	wantSent(t, f, addrC)
	if s := p.Stats(); s.TxPackets != 5 || s.TxBytes != 5*32 || s.LastTx.IsZero() {
		t.Errorf("stats %+v", s)
	}
	b.RemovePeer("far")
	send(t, b, p.ep, data[0])
	p.SetPath(addr(addrA))
	send(t, b, p.ep, data[0], initiation(1))
	wantSent(t, f)
}

func TestOneOfTwoPathsIsEnough(t *testing.T) {
	b, f, _ := opened(t, Config{})
	p := far(b, addrA, addrB)
	unreachable := map[string]bool{addrA: true}
	f.sendErr = func(_ int, to netip.AddrPort) error {
		if unreachable[to.String()] {
			return syscall.ENETUNREACH
		}
		return nil
	}
	send(t, b, p.ep, transport(1, 1))
	wantSent(t, f, addrB)
	unreachable[addrB] = true
	if err := b.Send([][]byte{transport(1, 1)}, p.ep); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("error %v, want that of the network", err)
	}
}

func TestBatchBeyondThePathMTUGoesOneByOne(t *testing.T) {
	b, f, _ := opened(t, Config{})
	p := far(b, addrA, "")
	for _, err := range []error{syscall.EMSGSIZE, syscall.EINVAL, conn.ErrUDPGSODisabled{RetryErr: syscall.EMSGSIZE}} {
		f.sendErr = func(n int, _ netip.AddrPort) error {
			if n > 1 {
				return err
			}
			return nil
		}
		send(t, b, p.ep, transport(1, 1), transport(1, 2), transport(1, 3))
		wantSent(t, f, addrA, addrA, addrA)
	}
}

func TestKnownSourcesCarryTheStableEndpoint(t *testing.T) {
	b, f, r := opened(t, Config{})
	p := far(b, addrA, "")
	receive(t, f, r, arrival{transport(1, 1), addrA}, arrival{transport(1, 2), addrC}, arrival{transport(1, 3), addrA})
	for i, stable := range []bool{true, false, true} {
		if got := r.eps[i] == conn.Endpoint(p.ep); got != stable {
			t.Errorf("packet %d has endpoint %T", i, r.eps[i])
		}
	}
	if s := p.Stats(); s.RxPackets != 2 || s.RxBytes != 64 || s.LastRx.IsZero() {
		t.Errorf("stats %+v", s)
	}
	p.SetPath(addr(addrB))
	receive(t, f, r, arrival{transport(1, 1), addrA}, arrival{transport(1, 1), addrB})
	if r.eps[0] != conn.Endpoint(p.ep) || r.eps[1] != conn.Endpoint(p.ep) {
		t.Error("late packets from the former path would make WireGuard roam back")
	}
	for i := range knownBefore + 2 {
		p.SetPath(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.9"), uint16(i+1)))
	}
	receive(t, f, r, arrival{transport(1, 1), addrA})
	if r.eps[0] == conn.Endpoint(p.ep) {
		t.Error("former addresses are known without end")
	}
	b.RemovePeer("far")
	receive(t, f, r, arrival{transport(1, 1), "192.0.2.9:10"})
	if r.eps[0] == conn.Endpoint(p.ep) || len(b.table.claims) != 0 {
		t.Error("a removed peer's addresses are known")
	}
}

func TestAddressOfTwoPeersStaysRaw(t *testing.T) {
	b, f, r := opened(t, Config{})
	p := far(b, addrA, "")
	other := b.AddPeer("other")
	other.SetPath(addr(addrA))
	receive(t, f, r, arrival{transport(1, 1), addrA})
	if _, raw := r.eps[0].(*conn.StdNetEndpoint); !raw {
		t.Error("a shared address carries one peer's endpoint")
	}
	b.RemovePeer("other")
	receive(t, f, r, arrival{transport(1, 1), addrA})
	if r.eps[0] != conn.Endpoint(p.ep) {
		t.Error("the address did not come back to the peer that is left")
	}
}

func TestPathTellsWhereTheAnswerCameFrom(t *testing.T) {
	b, f, r := opened(t, Config{})
	p := far(b, addrA, addrB)
	if got := p.Path(); got != addr(addrA) {
		t.Errorf("before any answer %v", got)
	}
	receive(t, f, r, arrival{transport(1, 1), addrB})
	if got := p.Path(); got != addr(addrB) {
		t.Errorf("answered from %v, want %s", got, addrB)
	}
	if primary, also := p.Paths(); primary != addr(addrA) || also != addr(addrB) {
		t.Errorf("paths %v, %v", primary, also)
	}
	p.ClearPath()
	if p.Path().IsValid() {
		t.Error("a path after ClearPath")
	}
}

func TestRoamingMovesThePath(t *testing.T) {
	var adopted []string
	cfg := Config{Adopted: func(id string, a netip.AddrPort) { adopted = append(adopted, id+" "+a.String()) }}
	b, f, r := opened(t, cfg)
	p, other := far(b, addrA, ""), b.AddPeer("other")
	// The handshake tells which session is whose: 7 and 8 are ours, 70 and 80 theirs.
	send(t, b, p.ep, initiation(7))
	receive(t, f, r, arrival{response(70, 7), addrA})
	other.SetPath(addr(addrB))
	send(t, b, other.ep, response(8, 80))
	f.take()

	receive(t, f, r, arrival{transport(7, 1), addrC})
	send(t, b, r.eps[0], transport(70, 1))
	wantSent(t, f, addrC)
	if p.Path() != addr(addrC) || len(adopted) != 1 || adopted[0] != "far "+addrC {
		t.Errorf("path %v, adopted %q", p.Path(), adopted)
	}
	receive(t, f, r, arrival{transport(7, 2), addrC}, arrival{transport(7, 2), addrA})
	if r.eps[0] != conn.Endpoint(p.ep) || r.eps[1] == conn.Endpoint(p.ep) {
		t.Error("the new address is unknown, or the old one known: WireGuard cannot roam back")
	}
	send(t, b, r.eps[1], transport(70, 1))
	if wantSent(t, f, addrA); p.Path() != addr(addrA) {
		t.Errorf("path %v after roaming back", p.Path())
	}
	adopted = adopted[:1]
	ep, _ := b.inner.ParseEndpoint("192.0.2.4:4")
	send(t, b, ep, transport(80, 1))
	if other.Path() != addr("192.0.2.4:4") || len(adopted) != 2 {
		t.Errorf("the other peer's path %v, adopted %q", other.Path(), adopted)
	}
	send(t, b, ep, transport(99, 1)) // nobody's
	send(t, b, ep, cookie(70))       // to somebody who may be anybody
	if len(adopted) != 2 {
		t.Errorf("adopted %q", adopted)
	}
}

func TestOnlyPeerIsAdoptedAtItsInitiation(t *testing.T) {
	b, f, r := opened(t, Config{})
	p := b.AddPeer("far")
	send(t, b, p.ep, initiation(7)) // kept, and given up for the response
	receive(t, f, r, arrival{initiation(70), addrC})
	send(t, b, r.eps[0], response(8, 70))
	wantSent(t, f, addrC)
	if p.Path() != addr(addrC) {
		t.Errorf("path %v, want %s", p.Path(), addrC)
	}
	if _, err := b.ParseEndpoint(addrA); err != nil {
		t.Fatal(err)
	}
	ep, _ := b.inner.ParseEndpoint(addrB)
	send(t, b, ep, response(9, 90)) // may be the other peer's, which has no object
	if p.Path() != addr(addrC) {
		t.Errorf("path %v moved to what may be another peer", p.Path())
	}
}

func TestHandshakeIsRepeatedByTheTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f, r := opened(t, Config{})
		p := b.AddPeer("far")
		send(t, b, p.ep, initiation(7))
		p.SetPath(addr(addrA))
		wantSent(t, f, addrA)
		time.Sleep(300 * ms)
		p.SetPaths(addr(addrA), addr(addrB))
		wantSent(t, f, addrA, addrA, addrB) // a repeat, and at once to the new one
		time.Sleep(300 * ms)
		wantSent(t, f, addrA, addrB)
		receive(t, f, r, arrival{response(70, 7), addrC}) // from wherever
		time.Sleep(5 * time.Second)
		wantSent(t, f)

		send(t, b, p.ep, initiation(9))
		receive(t, f, r, arrival{cookie(9), addrA})
		f.take()
		time.Sleep(5 * time.Second)
		wantSent(t, f)

		p.SetPath(addr(addrA))
		send(t, b, p.ep, response(8, 80))
		time.Sleep(300 * ms)
		wantSent(t, f, addrA, addrA)
		if b.waiting.Load() != 1 {
			t.Error("receivers do not look for the confirmation")
		}
		receive(t, f, r, arrival{transport(8, 0), addrA})
		time.Sleep(5 * time.Second)
		wantSent(t, f)
		if b.waiting.Load() != 0 {
			t.Error("receivers look for a confirmation for ever")
		}

		send(t, b, p.ep, response(10, 100))
		send(t, b, p.ep, initiation(11))
		b.Close()
		f.take()
		time.Sleep(5 * time.Second)
		wantSent(t, f)
		b.RemovePeer("far")
		send(t, b, p.ep, response(12, 120))
		if b.waiting.Load() != 0 || len(b.local) != 0 || len(b.remote) != 0 {
			t.Error("a removed peer left something")
		}
	})
}

func TestWinnerOfTwoPathsIsNoNewPath(t *testing.T) {
	b, f, _ := opened(t, Config{HoldInitiation: time.Hour})
	p := far(b, addrA, addrB)
	p.handshake.holdUntil, p.handshake.begun = 0, true
	send(t, b, p.ep, initiation(7))
	wantSent(t, f, addrA, addrB)
	p.SetPath(addr(addrB))
	wantSent(t, f)
	send(t, b, p.ep, initiation(8))
	wantSent(t, f, addrB)
}

func TestHeldInitiationLeavesByTheTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f, _ := opened(t, Config{HoldInitiation: time.Second})
		p := far(b, addrA, "")
		send(t, b, p.ep, initiation(7))
		time.Sleep(900 * ms)
		wantSent(t, f)
		time.Sleep(200 * ms)
		wantSent(t, f, addrA)
	})
}

func TestReceiveErrorIsAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []error
		b, f, r := opened(t, Config{OnReceiveError: func(err error) { seen = append(seen, err) }})
		wait := retryFirst
		for range 12 {
			f.errs <- syscall.ECONNRESET
			start := time.Now()
			if n, err := r.read(); n != 0 || err != nil {
				t.Fatalf("receive error became %d, %v", n, err)
			}
			if got := time.Since(start); got != wait {
				t.Errorf("paused %v, want %v", got, wait)
			}
			wait = min(2*wait, retryMost)
		}
		if len(seen) != 12 || !errors.Is(seen[0], syscall.ECONNRESET) {
			t.Errorf("told of %v", seen)
		}
		receive(t, f, r, arrival{transport(1, 1), addrA})
		f.errs <- syscall.ECONNRESET
		start := time.Now()
		if r.read(); time.Since(start) != retryFirst {
			t.Error("the pause did not start again after a packet")
		}
		f.errs <- syscall.ECONNRESET
		go func() {
			time.Sleep(ms)
			b.Close()
		}()
		if _, err := r.read(); err != net.ErrClosed {
			t.Errorf("closed in a pause: %v", err)
		}
	})
}

func TestCloseAndReopen(t *testing.T) {
	f := newFake()
	b := New(f, Config{})
	if err := b.Close(); err != nil {
		t.Errorf("close before open: %v", err)
	}
	p := far(b, addrA, "")
	for range 3 {
		fns, port, err := b.Open(7)
		if err != nil || port != 7 || b.Port() != 7 {
			t.Fatal(port, err)
		}
		if _, _, err := b.Open(7); !errors.Is(err, conn.ErrBindAlreadyOpen) {
			t.Errorf("second open: %v", err)
		}
		r := newReader(fns[0], f.batch)
		receive(t, f, r, arrival{transport(1, 1), addrA})
		if r.eps[0] != conn.Endpoint(p.ep) {
			t.Error("the peer was lost")
		}
		for range 2 {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := r.read(); !errors.Is(err, net.ErrClosed) || b.Port() != 0 {
			t.Errorf("receive after close: %v", err)
		}
	}
	if f.closes != 3 {
		t.Errorf("closed %d times, want 3", f.closes)
	}
}

// A bound is an inner Bind with the optional interfaces.
type bound struct {
	*fakeInner
	calls []string
}

func (b *bound) BindSocketToInterface4(uint32, bool) error {
	b.calls = append(b.calls, "bind4")
	return nil
}
func (b *bound) BindSocketToInterface6(uint32, bool) error {
	b.calls = append(b.calls, "bind6")
	return nil
}
func (b *bound) PeekLookAtSocketFd4() (int, error) { b.calls = append(b.calls, "fd4"); return 4, nil }
func (b *bound) PeekLookAtSocketFd6() (int, error) { b.calls = append(b.calls, "fd6"); return 6, nil }

func TestOptionalInterfaces(t *testing.T) {
	call := func(b *Bind) (errs []error) {
		_, err4 := b.PeekLookAtSocketFd4()
		_, err6 := b.PeekLookAtSocketFd6()
		return []error{b.BindSocketToInterface4(1, false), b.BindSocketToInterface6(1, false), err4, err6}
	}
	inner := &bound{fakeInner: newFake()}
	for _, err := range call(New(inner, Config{})) {
		if err != nil {
			t.Error(err)
		}
	}
	if len(inner.calls) != 4 {
		t.Errorf("forwarded %q", inner.calls)
	}
	for _, err := range call(New(newFake(), Config{})) {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("without them: %v", err)
		}
	}
}
