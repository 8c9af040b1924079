package nat

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// A Report is what Probe found out about the network that a socket is on. What
// could not be asked is NotChecked or Unknown, which is not a no.
type Report struct {
	// UDPBlocked is Yes if no server answered and at least one could be sent to.
	UDPBlocked Fact   `json:"udp_blocked"`
	IPv4       Family `json:"ipv4"`
	IPv6       Family `json:"ipv6"`
	// Lifetime is of a binding of IPv4, or of IPv6 if only that works.
	Lifetime Lifetime `json:"lifetime"`
	// Servers are the addresses that were asked, and names that have none.
	Servers []ServerReport `json:"servers,omitempty"`
}

// A Family is the way to the internet by one of IPv4 and IPv6.
type Family struct {
	Works  Fact           `json:"works"`           // a server answered; NotChecked without server or socket for it
	Local  netip.AddrPort `json:"local,omitzero"`  // of the socket towards the first server that answered
	Public netip.AddrPort `json:"public,omitzero"` // as that server saw it
	NAT    Fact           `json:"nat"`             // Public is not Local
	Kept   Fact           `json:"port_kept"`       // the NAT kept the port (RFC 4787, section 4.2)
	// Hairpin is whether the NAT returns what is sent to Public from inside it (RFC
	// 4787, section 6), and its filter lets it in; NotChecked without a NAT.
	Hairpin   Fact  `json:"hairpin"`
	Mapping   Class `json:"mapping"`   // RFC 4787, section 4.1
	Filtering Class `json:"filtering"` // RFC 4787, section 5; also of a firewall without NAT
}

// A Lifetime says how long a NAT keeps an idle binding for what comes from outside
// (RFC 4787, section 4.3).
type Lifetime struct {
	Expires  Fact          // Yes: within Lost. No: not within Survived, the longest that was tried
	Survived time.Duration // the longest idle time after which a packet came in; 0: none
	Lost     time.Duration // the shortest after which none did; 0: none
}

// An ServerReport is what one address of a server said.
type ServerReport struct {
	Server   string         `json:"server"`          // as it was given
	Addr     netip.AddrPort `json:"addr,omitzero"`   // zero: the name was not found
	Answered Fact           `json:"answered"`        // NotChecked: nothing could be sent
	RTT      time.Duration  `json:"rtt_ns,omitzero"` // from the first attempt
	Mapped   netip.AddrPort `json:"mapped,omitzero"` // the socket as it saw it
	Tests    Fact           `json:"rfc5780"`         // it has an alternate address for the behaviour tests
	Err      string         `json:"error,omitempty"` // why nothing was heard or sent
}

// String is one line of at most 256 bytes of printable ASCII, as Config.Report
// wants it.
func (r Report) String() string {
	var b strings.Builder
	switch r.UDPBlocked {
	case Yes:
		b.WriteString("udp blocked")
	case No:
		b.WriteString("udp works")
	default:
		b.WriteString("udp not checked")
	}
	r.IPv4.write(&b, "ipv4")
	r.IPv6.write(&b, "ipv6")
	switch l := r.Lifetime; l.Expires {
	case Yes:
		fmt.Fprintf(&b, "; binding %v to %v", round(l.Survived), round(l.Lost))
	case No:
		fmt.Fprintf(&b, "; binding over %v", round(l.Survived))
	}
	return b.String()
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

func (n *Family) write(b *strings.Builder, family string) {
	b.WriteString("; " + family)
	switch n.Works {
	case NotChecked:
		b.WriteString(" not checked")
		return
	case No:
		b.WriteString(" no")
		return
	}
	if n.Public.IsValid() {
		b.WriteString(" " + n.Public.String())
	}
	fmt.Fprintf(b, " map %s filter %s", n.Mapping.short(), n.Filtering.short())
	words := [...]struct {
		fact    Fact
		yes, no string
	}{
		{n.Kept, " port kept", " port changed"},
		{n.Hairpin, " hairpin", " no hairpin"},
	}
	for _, w := range words {
		switch w.fact {
		case Yes:
			b.WriteString(w.yes)
		case No:
			b.WriteString(w.no)
		}
	}
}

// lifetimeJSON has seconds, as people read them.
type lifetimeJSON struct {
	Expires  Fact    `json:"expires"`
	Survived float64 `json:"survived_s"`
	Lost     float64 `json:"lost_s"`
}

// MarshalJSON writes times as seconds.
func (l Lifetime) MarshalJSON() ([]byte, error) {
	return json.Marshal(lifetimeJSON{l.Expires, l.Survived.Seconds(), l.Lost.Seconds()})
}

// UnmarshalJSON reads what MarshalJSON writes, and refuses times below 0 or above a
// day.
func (l *Lifetime) UnmarshalJSON(b []byte) error {
	var j lifetimeJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("lifetime: %w", err)
	}
	const most = 24 * 60 * 60
	if !(j.Survived >= 0 && j.Survived <= most && j.Lost >= 0 && j.Lost <= most) {
		return fmt.Errorf("lifetime: out of range")
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)).Round(time.Microsecond) }
	*l = Lifetime{j.Expires, seconds(j.Survived), seconds(j.Lost)}
	return nil
}
