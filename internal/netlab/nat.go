package netlab

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Dependence says on what of the far end a NAT's mapping or filtering depends
// (RFC 4787, sections 4.1 and 5).
type Dependence int

// The three of RFC 4787.
const (
	EndpointIndependent Dependence = iota
	AddressDependent
	PortDependent // on address and port
)

func (d Dependence) String() string {
	switch d {
	case EndpointIndependent:
		return "endpoint-independent"
	case AddressDependent:
		return "address-dependent"
	case PortDependent:
		return "address- and port-dependent"
	}
	return "Dependence " + strconv.Itoa(int(d))
}

// NAT says how a router translates UDP over IPv4. The zero value is a full cone
// with random ports that does not hairpin.
type NAT struct {
	Mapping   Dependence
	Filtering Dependence
	Preserve  bool          // the outer port is the inner one where it is free; needs an endpoint-independent mapping
	Hairpin   bool          // inner hosts reach each other by their outer addresses, which they are then seen with (RFC 4787, REQ-9)
	Timeout   time.Duration // of an idle binding, whole seconds; 0: 2 min
}

func (n NAT) String() string {
	says := []string{n.Mapping.String() + " mapping", n.Filtering.String() + " filtering", "random ports"}
	if n.Preserve {
		says[2] = "ports preserved"
	}
	if n.Hairpin {
		says = append(says, "hairpin")
	}
	if n.Timeout > 0 {
		says = append(says, "timeout "+n.Timeout.String())
	}
	return strings.Join(says, ", ")
}

const (
	timeoutDefault = 2 * time.Minute
	// outerPorts are how many ports an inner address and port are hashed to. With few
	// sockets behind a router, two that meet at one port are one lab in thousands.
	outerFirst, outerPorts = 20000, 8192
)

// A Translator is the NAT of one router. Its methods fail the test, and may be
// called while traffic runs.
type Translator struct {
	host *Host
	out  *Interface
	kind NAT
	seed uint32
}

// NAT makes the router translate what leaves by its link out, as the ordinary
// home router does, which is also Linux's own way: an endpoint-independent
// mapping that preserves ports, and address- and port-dependent filtering.
func (h *Host) NAT(out *Interface) *Translator {
	h.lab.t.Helper()
	return h.Translate(out, NAT{Filtering: PortDependent, Preserve: true})
}

// Translate makes the router translate what leaves by its link out, and refuse
// what comes in by it unasked. TCP and what else is not UDP is translated by
// Linux's own way.
//
// Outer ports are a hash of the inner address and port (and of the outer address
// where the mapping depends on it), so that a mapping is the same for ever. What
// the router has mapped and whom an inner socket has sent to, it learns after
// the translation into a map and a set, by which it forwards what nobody behind
// it asked for.
func (h *Host) Translate(out *Interface, kind NAT) *Translator {
	h.lab.t.Helper()
	if kind.Preserve && kind.Mapping != EndpointIndependent {
		h.lab.t.Fatalf("netlab: %s: ports are preserved only by an endpoint-independent mapping", h.Name)
	}
	if kind.Timeout == 0 {
		kind.Timeout = timeoutDefault
	}
	h.note = "NAT " + out.Name + ": " + kind.String()
	t := &Translator{host: h, out: out, kind: kind}
	if !kind.Preserve {
		t.seed = seed()
	}
	seconds := strconv.Itoa(max(1, int(kind.Timeout.Seconds())))
	h.sysctl("net/netfilter/nf_conntrack_udp_timeout", seconds)
	h.sysctl("net/netfilter/nf_conntrack_udp_timeout_stream", seconds)
	h.NFT(t.script(seconds))
	return t
}

func seed() uint32 { return rand.Uint32() | 1 } // 0 stands for a port that is preserved

// Forget drops every mapping, as a router that starts again does. The next
// packet of an inner socket makes a new one, of the same port but where ports
// depend on the far end's.
func (t *Translator) Forget() {
	t.host.lab.t.Helper()
	t.forget("")
}

// Rebind is Forget, after which every inner socket gets another outer port, also
// where ports were preserved.
func (t *Translator) Rebind() {
	t.host.lab.t.Helper()
	t.seed = seed()
	t.forget("flush chain ip nat translate\ntable ip nat {\n\tchain translate {\n" + t.leave() + "\t}\n}\n")
}

// forget takes new rules, and forgets. Nothing is learnt meanwhile: packets of a
// connection that is about to be forgotten would bring its mapping back, and the next
// one from outside would be let in by it.
func (t *Translator) forget(rules string) {
	t.host.lab.t.Helper()
	t.host.NFT(rules + "flush chain ip nat learn\n")
	t.host.NFT("flush map ip nat mapped\nflush set ip nat permitted\n") // afterwards: a packet in between still learns
	if err := t.host.Do(flushConntrack); err != nil {
		t.host.lab.t.Fatalf("netlab: %s: forget connections: %v", t.host.Name, err)
	}
	t.host.NFT("table ip nat {\n\tchain learn {\n" + t.learn() + "\t}\n}\n")
}

// UDP is an nftables expression for the packets from one address to another.
func UDP(from, to netip.AddrPort) string {
	family := "ip"
	if from.Addr().Is6() {
		family = "ip6"
	}
	return fmt.Sprintf("%s saddr %s %s daddr %s udp sport %d udp dport %d", family, from.Addr(), family, to.Addr(), from.Port(), to.Port())
}

// Blackhole drops what arrives at the host and matches, as the wire has it,
// before any translation: with UDP, one direction of one flow.
func (h *Host) Blackhole(match string) {
	h.lab.t.Helper()
	h.NFT(fmt.Sprintf(`
table inet blackhole {
	chain prerouting {
		type filter hook prerouting priority raw - 10; policy accept;
		%s drop
	}
}`, match))
}

// Clear takes back every Blackhole of the host.
func (h *Host) Clear() {
	h.lab.t.Helper()
	h.NFT("table inet blackhole\ndelete table inet blackhole\n")
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
