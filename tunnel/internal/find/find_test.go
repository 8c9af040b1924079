package find

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/nat"
)

func candidates(words ...string) (all []nat.Candidate) {
	for i, w := range words {
		all = append(all, nat.Candidate{Type: w, Addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i+1))})
	}
	return all
}

func TestWhyFound(t *testing.T) {
	pair := nat.Pair{Local: candidates("srflx")[0], Remote: candidates("host")[0]}
	for _, tt := range []struct{ here, there, want string }{
		{"", "", "srflx-host"},
		{"port-restricted", "symmetric", "srflx-host port-restricted/symmetric"},
		{"port-restricted", "", "srflx-host port-restricted/unknown"},
		{"", "open", "srflx-host unknown/open"},
		{"open", "\x1b[31mopen", "srflx-host open/unknown"}, // the far end's word is not ours to print
		{"open", strings.Repeat("a", 256), "srflx-host open/unknown"},
	} {
		if got := whyFound(pair, nat.ParseNAT(tt.here), nat.ParseNAT(tt.there)); got != tt.want {
			t.Errorf("%q and %.20q: %q, want %q", tt.here, tt.there, got, tt.want)
		}
	}
}

func TestFailed(t *testing.T) {
	n := &Network{nat: nat.Restricted}
	f := New(n)
	crowd := candidates("host", "host", "host", "srflx", "srflx", "relay")
	for _, tt := range []struct {
		e    nat.Error
		want string
	}{
		{nat.Error{Reason: nat.ReasonNoPath, Local: candidates("host", "host", "srflx"), Remote: candidates("host"), Far: "symmetric"},
			"port-restricted here, symmetric there; tried 2 host 1 srflx x 1 host"},
		{nat.Error{Reason: nat.ReasonNoPath, Local: crowd, Remote: crowd, Far: "address-restricted"},
			"port-restricted here, address-restricted there; tried 3 host 2 srflx 1 relay x 3 host 2 srflx 1 relay"},
		{nat.Error{Reason: nat.ReasonUnanswered, Local: candidates("srflx")}, "port-restricted here, unknown there; offered 1 srflx"},
		{nat.Error{Reason: nat.ReasonNoCandidates, Remote: candidates("host"), Far: "\nlie"}, "port-restricted here, unknown there; tried none x 1 host"},
	} {
		err := f.Failed(&tt.e, true)
		failure, ok := errors.AsType[*Failure](err)
		if !ok || failure.Why() != tt.want || !failure.Waits() || !errors.Is(err, nat.ErrNoPath) {
			t.Errorf("%v: %q, want %q", err, failure.Why(), tt.want)
		}
		var coded interface{ Code() string }
		if !errors.As(err, &coded) || coded.Code() != tt.e.Reason {
			t.Errorf("%v lost its code", err)
		}
		if len("relay: direct failed ")+len(tt.e.Reason)+len(tt.want)+3 > 200 {
			t.Errorf("too long for a status: %q", tt.want)
		}
	}
	if why := f.Failed(&nat.Error{Reason: nat.ReasonSocket}, true); errors.As(why, new(*Failure)) {
		t.Errorf("not a search that found nothing: %v", why)
	}
	if f.Failed(context.Canceled, true) != context.Canceled {
		t.Error("an error that is none of nat's is changed")
	}
}

func TestLate(t *testing.T) {
	calls := 0
	if !Late(t.Context(), func() bool { calls++; return calls < 3 }) || calls != 3 {
		t.Errorf("after %d looks", calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if Late(ctx, func() bool { return true }) {
		t.Error("a relay is called for though nobody waits")
	}
}

// A Network is probed once for all who ask, again when its age or its servers call for
// it, and not by one whose session ends.
func TestNetwork(t *testing.T) {
	defer leaktest.None(t, goleak.IgnoreCurrent())
	var socks []net.PacketConn
	for range 2 {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		socks = append(socks, c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- nat.ServeSTUN(ctx, socks...) }()
	defer func() { cancel(); <-served }()
	opened := 0
	n := &Network{Socket: func() (net.PacketConn, error) { opened++; return net.ListenPacket("udp", "127.0.0.1:0") }}
	stun := []string{socks[0].LocalAddr().String()}
	look := func(ctx context.Context, servers []string, want int) {
		t.Helper()
		f := New(n)
		cfg := f.Config(ctx, socks[0], &keys.Grant{}, servers, zap.NewNop())
		f.Wait()
		if opened != want {
			t.Errorf("%d probes, want %d", opened, want)
		}
		if cfg.Report() != string(n.NAT()) {
			t.Errorf("the far end is told %q of %q", cfg.Report(), n.NAT())
		}
	}
	look(t.Context(), nil, 0)
	ended, end := context.WithCancel(t.Context())
	end()
	look(ended, stun, 1)
	if n.NAT() != nat.NATUnknown {
		t.Errorf("found %s by a probe that was broken off", n.NAT())
	}
	look(t.Context(), stun, 2)
	if n.NAT() != nat.NoNAT && n.NAT() != nat.Firewalled {
		t.Errorf("loopback is %s", n.NAT())
	}
	if !strings.HasPrefix(n.Behaviour(), "open/") {
		t.Errorf("loopback behaves as %q", n.Behaviour())
	}
	n.key += " 192.0.2.7/24" // what was found was another network
	if n.Behaviour() != "" {
		t.Errorf("another network behaves as %q", n.Behaviour())
	}
	n.key = strings.TrimSuffix(n.key, " 192.0.2.7/24")
	look(t.Context(), stun, 2)
	ago := func(d time.Duration) { n.at = time.Now().Add(-d) }
	ago(lookEvery)
	look(t.Context(), stun, 3)
	// What was said twice is not asked again because searches fail.
	n.failed()
	ago(lookAgain)
	look(t.Context(), stun, 3)
	n.sure = false
	ago(0)
	look(t.Context(), stun, 4)
	n.nat, n.sure = nat.UDPBlockedNAT, false
	look(t.Context(), stun, 4)
	ago(lookAgain)
	look(t.Context(), stun, 5)
	look(t.Context(), append(stun, socks[1].LocalAddr().String()), 6)
}
