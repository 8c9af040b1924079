package nat

import "testing"

func TestReportNAT(t *testing.T) {
	v4 := func(nat Fact, mapping, filtering Class) Report {
		return Report{UDPBlocked: No, IPv4: Family{Works: Yes, NAT: nat, Mapping: mapping, Filtering: filtering}}
	}
	for _, tt := range []struct {
		r    Report
		want NAT
		text string
	}{
		{Report{}, NATUnknown, "unknown"},
		{Report{UDPBlocked: Yes, IPv4: Family{Works: No}}, UDPBlockedNAT, "udp-blocked"},
		{Report{UDPBlocked: No, IPv4: Family{Works: No}, IPv6: Family{Works: Yes, Mapping: Open}}, IPv6Only, "ipv6-only"},
		{v4(No, Open, Open), NoNAT, "open"},
		{v4(No, Open, AddressAndPortDependent), Firewalled, "firewall"},
		{v4(No, Open, Unknown), Firewalled, "firewall"},
		{v4(Yes, EndpointIndependent, EndpointIndependent), FullCone, "full-cone"},
		{v4(Yes, EndpointIndependent, AddressDependent), RestrictedIP, "address-restricted"},
		{v4(Yes, EndpointIndependent, AddressAndPortDependent), Restricted, "port-restricted"},
		{v4(Yes, EndpointIndependent, Unknown), Cone, "cone"},
		{v4(Yes, AddressDependent, Unknown), SymmetricNAT, "symmetric"},
		{v4(Yes, AddressAndPortDependent, AddressAndPortDependent), SymmetricNAT, "symmetric"},
		{v4(Yes, Unknown, Unknown), SomeNAT, "nat"},
		{v4(NotChecked, Unknown, Unknown), NATUnknown, "unknown"},
	} {
		got := tt.r.NAT()
		if got != tt.want || got.String() != tt.text {
			t.Errorf("%s: %q (%s), want %q", tt.r, string(got), got, tt.text)
		}
		if back := ParseNAT(string(got)); back != got {
			t.Errorf("ParseNAT(%q) = %q", string(got), string(back))
		}
		if !validReport(string(got)) {
			t.Errorf("%q cannot be reported", string(got))
		}
	}
	for _, text := range []string{"unknown", "Symmetric", "symmetric\n", "symmetric; rm -rf /", " open", "\x1b[2J"} {
		if n := ParseNAT(text); n != NATUnknown {
			t.Errorf("ParseNAT(%q) = %q", text, string(n))
		}
	}
}
