package netlab

import (
	"fmt"
	"strings"
)

// hairpinMark is on packets from inside for the router's outer address.
const hairpinMark = "0x68"

// script is the router's rules.
func (t *Translator) script(seconds string) string {
	r := strings.NewReplacer("OUT", t.out.Name, "PUBLIC", t.out.Addr.String(), "SECONDS", seconds,
		"MARK", hairpinMark, "PERMITTED", t.permitted(), "ENTER", t.enter(), "LEAVE", t.leave(), "LEARN", t.learn())
	return r.Replace(`
table ip nat {
	# outer port: inner socket
	map mapped {
		type inet_service : ipv4_addr . inet_service
		size 65535
		flags dynamic,timeout
		timeout SECONDSs
	}
	# outer port and whom it may hear
	set permitted {
		type PERMITTED
		size 65535
		flags dynamic,timeout
		timeout SECONDSs
	}
	chain inner {
		type filter hook prerouting priority mangle;
		iifname != "OUT" ip daddr PUBLIC meta mark set MARK
	}
	chain come {
		type nat hook prerouting priority dstnat;
ENTER	}
	chain go {
		type nat hook postrouting priority srcnat;
		oifname "OUT" meta l4proto udp jump translate
		meta mark MARK meta l4proto udp jump translate
		oifname "OUT" masquerade
	}
	chain translate {
LEAVE	}
	chain learn {
		type filter hook postrouting priority srcnat + 10;
LEARN	}
}
table inet filter {
	# Nothing is answered that came unasked: an answer, even a refusal, would make
	# a connection in the way of the one that an inner socket opens next.
	chain input {
		type filter hook input priority filter;
		iifname "OUT" ct state established,related accept
		iifname "OUT" icmp type echo-request accept
		iifname "OUT" meta l4proto icmpv6 accept
		iifname "OUT" drop
		meta mark MARK meta l4proto udp drop
	}
	chain forward {
		type filter hook forward priority filter;
		iifname "OUT" ct state established,related accept
		iifname "OUT" ct status dnat accept
		iifname "OUT" drop
	}
}
`)
}

// permitted is the type of the set, as wide as the filtering looks.
func (t *Translator) permitted() string {
	switch t.kind.Filtering {
	case AddressDependent:
		return "inet_service . ipv4_addr"
	case PortDependent:
		return "inet_service . ipv4_addr . inet_service"
	}
	return "inet_service"
}

// enter lets in what the filtering lets in. A hairpin's source is not yet known
// with its outer port: its filtering comes last.
func (t *Translator) enter() string {
	asked := "udp dport @permitted"
	switch t.kind.Filtering {
	case AddressDependent:
		asked = "udp dport . ip saddr @permitted"
	case PortDependent:
		asked = "udp dport . ip saddr . udp sport @permitted"
	}
	s := fmt.Sprintf("\t\tiifname %q ip daddr %s %s dnat ip to udp dport map @mapped\n", t.out.Name, t.out.Addr, asked)
	if t.kind.Hairpin {
		s += fmt.Sprintf("\t\tmeta mark %s dnat ip to udp dport map @mapped\n", hairpinMark)
	}
	return s
}

// leave gives what goes out its outer port.
func (t *Translator) leave() string {
	to := t.out.Addr.String()
	switch {
	case t.kind.Mapping == PortDependent:
		to += fmt.Sprintf(":%d-%d fully-random", outerFirst, outerFirst+outerPorts-1)
	case t.seed != 0:
		key := "ip saddr . udp sport"
		if t.kind.Mapping == AddressDependent {
			key += " . ip daddr"
		}
		to += fmt.Sprintf(":jhash %s mod %d seed %#x map { %s }", key, outerPorts, t.seed, outerMap())
	}
	return fmt.Sprintf("\t\tmeta l4proto udp snat ip to %s\n", to)
}

// outerMap is the table from hashes to ports: a hash has the machine's byte
// order, a port the network's.
func outerMap() string {
	var b strings.Builder
	for i := range outerPorts {
		fmt.Fprintf(&b, "%d : %d, ", i, outerFirst+i)
	}
	return b.String()
}

// learn notes the mapping and the far end of what has been translated, from
// either direction of its connection.
func (t *Translator) learn() string {
	s := fmt.Sprintf("\t\tmeta l4proto != udp accept\n\t\toifname != %q meta mark != %s accept\n", t.out.Name, hairpinMark)
	for _, way := range []string{"original", "reply"} {
		far := ""
		switch t.kind.Filtering {
		case AddressDependent:
			far = fmt.Sprintf(" . ct %s ip daddr", way)
		case PortDependent:
			far = fmt.Sprintf(" . ct %s ip daddr . ct %[1]s proto-dst", way)
		}
		s += fmt.Sprintf("\t\tct direction %s update @mapped { udp sport : ct %[1]s ip saddr . ct %[1]s proto-src }\n", way)
		s += fmt.Sprintf("\t\tct direction %s update @permitted { udp sport%s }\n", way, far)
	}
	return s + t.hairpin()
}

// hairpin filters what goes back inside, which by now has its outer source.
func (t *Translator) hairpin() string {
	if !t.kind.Hairpin || t.kind.Filtering == EndpointIndependent {
		return ""
	}
	asked := "ct original proto-dst . ip saddr"
	if t.kind.Filtering == PortDependent {
		asked += " . udp sport"
	}
	return fmt.Sprintf("\t\tmeta mark %s meta l4proto udp ct state new ct direction original %s @permitted accept\n"+
		"\t\tmeta mark %[1]s ct state new drop\n", hairpinMark, asked)
}
