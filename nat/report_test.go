package nat

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func testReport() Report {
	return Report{
		UDPBlocked: No,
		IPv4: Family{
			Works: Yes, Local: netip.MustParseAddrPort("10.0.0.2:5000"), Public: netip.MustParseAddrPort("198.51.100.1:40007"),
			NAT: Yes, Kept: No, Hairpin: No, Mapping: EndpointIndependent, Filtering: AddressAndPortDependent,
		},
		IPv6:     Family{Works: No},
		Lifetime: Lifetime{Yes, 28125 * time.Millisecond, 30 * time.Second},
		Servers: []ServerReport{{
			Server: "stun.example", Addr: netip.MustParseAddrPort("192.0.2.1:3478"), Answered: Yes, RTT: 20 * time.Millisecond,
			Mapped: netip.MustParseAddrPort("198.51.100.1:40007"), Tests: Yes,
		}},
	}
}

func TestReportJSON(t *testing.T) {
	b, err := json.Marshal(testReport())
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"udp_blocked":"no",` +
		`"ipv4":{"works":"yes","local":"10.0.0.2:5000","public":"198.51.100.1:40007","nat":"yes","port_kept":"no","hairpin":"no",` +
		`"mapping":"endpoint_independent","filtering":"address_and_port_dependent"},` +
		`"ipv6":{"works":"no","nat":"not_checked","port_kept":"not_checked","hairpin":"not_checked","mapping":"unknown","filtering":"unknown"},` +
		`"lifetime":{"expires":"yes","survived_s":28.125,"lost_s":30},` +
		`"servers":[{"server":"stun.example","addr":"192.0.2.1:3478","answered":"yes","rtt_ns":20000000,"mapped":"198.51.100.1:40007","rfc5780":"yes"}]}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if again, _ := json.Marshal(back); string(again) != want || back.Lifetime != testReport().Lifetime || back.IPv4 != testReport().IPv4 {
		t.Errorf("back: %+v", back)
	}
	for _, bad := range []string{
		`{"udp_blocked":"maybe"}`, `{"udp_blocked":1}`, `{"ipv4":{"mapping":"Open"}}`, `{"ipv4":{"mapping":""}}`,
		`{"lifetime":{"survived_s":-1}}`, `{"lifetime":{"lost_s":1e30}}`, `{"lifetime":{"expires":"perhaps"}}`, `{"lifetime":3}`,
	} {
		if err := json.Unmarshal([]byte(bad), new(Report)); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func TestReportString(t *testing.T) {
	for _, c := range []struct {
		r    Report
		want string
	}{
		{Report{}, "udp not checked; ipv4 not checked; ipv6 not checked"},
		{Report{UDPBlocked: Yes, IPv4: Family{Works: No}}, "udp blocked; ipv4 no; ipv6 not checked"},
		{testReport(), "udp works; ipv4 198.51.100.1:40007 map independent filter address+port port changed no hairpin; ipv6 no; binding 28.1s to 30s"},
		{Report{Lifetime: Lifetime{Expires: No, Survived: time.Minute}}, "udp not checked; ipv4 not checked; ipv6 not checked; binding over 1m0s"},
	} {
		if got := c.r.String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	// The longest that there can be is told to the far end, see Config.Report.
	long := Family{Works: Yes, NAT: Yes, Kept: No, Hairpin: No, Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent}
	r := Report{IPv4: long, IPv6: long, Lifetime: Lifetime{Yes, 299*time.Second + 9e8, 299*time.Second + 9e8}}
	r.IPv4.Public = netip.MustParseAddrPort("255.255.255.255:65535")
	r.IPv6.Public = netip.MustParseAddrPort("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")
	s := r.String()
	if len(s) > 256 || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) {
		t.Errorf("%d bytes: %s", len(s), s)
	}
}

func TestNames(t *testing.T) {
	for c := Unknown; c <= AddressAndPortDependent; c++ {
		b, _ := c.MarshalText()
		var back Class
		if err := back.UnmarshalText(b); err != nil || back != c {
			t.Errorf("%s: %v %v", b, back, err)
		}
	}
	if Fact(9).String() != "(9)" || Class(9).String() != "(9)" || Class(9).short() != "(9)" {
		t.Error("out of range")
	}
}
