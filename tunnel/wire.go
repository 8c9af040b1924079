package tunnel

import (
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"

	"github.com/boothwire/boothwire/internal/packet"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel/internal/reach"
)

// configure hands lines of WireGuard's configuration protocol to the device. Its
// errors name the line's key only, never the value.
func (t *Tunnel) configure(lines string) error {
	if err := t.dev.IpcSet(lines); err != nil {
		return &DriverError{"wireguard", err}
	}
	return nil
}

// interfaceLines are those of this end.
func interfaceLines(c *Config) string {
	s := keyLine(c.Key)
	if c.Listen != 0 {
		s += "listen_port=" + strconv.Itoa(int(c.Listen)) + "\n"
	}
	return s
}

func keyLine(k keys.PrivateKey) string {
	raw, _ := base64.StdEncoding.DecodeString(k.Expose())
	defer clear(raw)
	return "private_key=" + hex.EncodeToString(raw) + "\n"
}

func publicLine(k keys.PublicKey) string {
	return "public_key=" + hex.EncodeToString(k[:]) + "\n"
}

func removeLines(k keys.PublicKey) string { return publicLine(k) + "remove=true\n" }

func allowedLines(addrs []netip.Addr) string {
	var b strings.Builder
	b.WriteString("replace_allowed_ips=true\n")
	for _, a := range addrs {
		b.WriteString("allowed_ip=" + netip.PrefixFrom(a, a.BitLen()).String() + "\n")
	}
	return b.String()
}

// rules are the reach filter's for c, with the proofs of the given far ends.
func (c *Config) rules(fars ...Peer) reach.Rules {
	r := reach.Rules{Own: c.Addresses, Outbound: c.Role == Operator, Renew: c.Role == Device && c.Renew != nil}
	for _, f := range fars {
		r.Proofs = append(r.Proofs, f.Proof)
	}
	if c.Role == Device && len(c.Operators) > 0 {
		for _, o := range c.Operators {
			r.Peers = append(r.Peers, reach.Peer{Addr: o.Address, Ports: reachPorts(o.Ports)})
		}
		return r
	}
	for _, a := range c.Far.Allowed {
		if c.Role == Device && a == c.Far.Proof {
			continue
		}
		r.Peers = append(r.Peers, reach.Peer{Addr: a, Ports: reachPorts(c.Ports)})
	}
	return r
}

func reachPorts(ports []keys.Port) []reach.Port {
	var out []reach.Port
	for _, p := range ports {
		switch p.Proto {
		case "tcp":
			out = append(out, reach.Port{Proto: packet.TCP, Number: p.Number})
		case "udp":
			out = append(out, reach.Port{Proto: packet.UDP, Number: p.Number})
		}
	}
	return out
}
