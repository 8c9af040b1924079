package kernel

import (
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/boothwire/boothwire/gateway/internal/planetest"
	"github.com/boothwire/boothwire/internal/kernelvm"
)

func TestMain(m *testing.M) { kernelvm.Main(m) }

// What the kernel loads by itself where there is a modprobe.
var modules = []string{"wireguard", "nf_tables", "nft_limit", "sch_htb", "sch_fq_codel"}

// Two machines, so that each stays far below its time.
func TestContract(t *testing.T) {
	kernelvm.Run(t, kernelvm.Config{Tests: "^TestGuestContract$", Modules: modules})
}

func TestMore(t *testing.T) {
	kernelvm.Run(t, kernelvm.Config{Tests: "^TestGuest(Restart|Classes|Foreign|Rates)$", Modules: modules})
}

func TestGuestContract(t *testing.T) {
	kernelvm.Guest(t)
	planetest.Run(t, inGuest)
}

func TestGuestRates(t *testing.T) {
	kernelvm.Guest(t)
	planetest.Rates(t, inGuest)
}

var inGuest = planetest.Subject{Open: open, Gone: gone, NoFlows: true, Slow: true}

func open(t testing.TB, cfg planetest.Config) planetest.Plane {
	t.Helper()
	p, err := Open(Config{
		PrivateKey: cfg.PrivateKey, Pool: netip.MustParsePrefix("10.166.0.0/16"), Proof: cfg.Proof, MTU: cfg.MTU,
		Uplink: cfg.Uplink, Patience: cfg.Patience, Handshake: cfg.Handshake, Proved: cfg.Proved,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// gone fails t if an interface or a table is left.
func gone(t testing.TB) {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Type() == "wireguard" || l.Type() == "tuntap" {
			t.Errorf("the interface %s is left", l.Attrs().Name)
		}
	}
	nft, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := nft.ListTables()
	if err != nil || len(tables) > 0 {
		t.Errorf("%d tables are left, %v", len(tables), err)
	}
}
