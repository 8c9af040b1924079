package netlab

import "fmt"

// NAT makes the router translate what leaves by its link out: the ordinary home
// or carrier router, whose mapping is endpoint-independent in practice and
// whose filtering is address- and port-dependent (RFC 4787).
func (h *Host) NAT(out *Interface) {
	h.lab.t.Helper()
	h.note = "NAT " + out.Name
	h.NFT(fmt.Sprintf(`
table ip nat {
	chain postrouting {
		type nat hook postrouting priority srcnat;
		oifname %q masquerade
	}
}
table inet filter {
	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname %q ct state established,related accept
		iifname %q drop
	}
}`, out.Name, out.Name, out.Name))
}

// Refuse drops what the host would forward of the given protocol and ports, so
// that "MQTT is blocked" or "only 443 gets out" is one line of a test.
// The match is an nftables expression such as "tcp dport { 1883, 8883 }".
func (h *Host) Refuse(match string) {
	h.lab.t.Helper()
	h.NFT(fmt.Sprintf(`
table inet refuse {
	chain forward {
		type filter hook forward priority -10; policy accept;
		%s drop
	}
}`, match))
}

// Allow takes back every Refuse of the host.
func (h *Host) Allow() {
	h.lab.t.Helper()
	h.NFT("table inet refuse\ndelete table inet refuse\n")
}
