package kernel

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/boothwire/boothwire/internal/kernelvm"
)

// An interface by the name of the node's is the node's only if it has its key, or was
// made for a node that was killed before it could give it one. Another's is refused,
// and nothing of it or beside it is touched.
func TestGuestForeign(t *testing.T) {
	kernelvm.Guest(t)
	wg, err := wgctrl.New()
	if err != nil {
		t.Fatal(err)
	}
	defer wg.Close()
	node, stranger, peer := newKey(), newKey(), newKey()
	cfg := Config{PrivateKey: node.private, Pool: netip.MustParsePrefix("10.166.0.0/16"), Proof: netip.MustParseAddr("10.166.255.1")}
	for _, c := range []struct {
		what  string
		name  string
		key   *keyPair
		group uint32
		ours  bool
	}{
		{"another's, for devices", "wgd0", &stranger, 0, false},
		{"another's, for operators", "wgo0", &stranger, 0, false},
		{"another node's", "wgo0", &stranger, linkGroup, false},
		{"one without a key", "wgo0", nil, 0, false},
		{"one that a killed node had just made", "wgo0", nil, linkGroup, true},
		{"the node's", "wgd0", &node, 0, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.Group = c.name, c.group
			if err := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs}); err != nil {
				t.Fatal(err)
			}
			had := wgtypes.Config{Peers: []wgtypes.PeerConfig{{PublicKey: peer.public, AllowedIPs: hosts([]netip.Addr{numbered(1, 1)})}}}
			if c.key != nil {
				had.PrivateKey = (*wgtypes.Key)(&c.key.private)
			}
			if err := wg.ConfigureDevice(c.name, had); err != nil {
				t.Fatal(err)
			}
			p, err := Open(cfg)
			if c.ours {
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Close(); err != nil {
					t.Error(err)
				}
				gone(t)
				return
			}
			if err == nil {
				p.Leave()
				t.Fatal("taken over")
			}
			if !strings.Contains(err.Error(), "ip link delete "+c.name) {
				t.Errorf("it does not say what to do: %v", err)
			}
			d, err := wg.Device(c.name)
			if err != nil || len(d.Peers) != 1 || len(d.Peers[0].AllowedIPs) != 1 || c.key != nil && d.PublicKey != c.key.public {
				t.Errorf("it was touched: %+v, %v", d, err)
			}
			link, err := netlink.LinkByName(c.name)
			if err != nil {
				t.Fatal(err)
			}
			if err := netlink.LinkDel(link); err != nil {
				t.Fatal(err)
			}
			gone(t)
		})
	}
}
