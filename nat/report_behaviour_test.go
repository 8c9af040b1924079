package nat

import (
	"slices"
	"testing"
)

func TestReportBehaviour(t *testing.T) {
	v4 := func(nat Fact, mapping, filtering Class) Report {
		return Report{UDPBlocked: No, IPv4: Family{Works: Yes, NAT: nat, Mapping: mapping, Filtering: filtering}}
	}
	for _, tt := range []struct {
		r    Report
		want string
	}{
		{Report{}, ""},
		{Report{UDPBlocked: Yes, IPv4: Family{Works: No}}, "udp_blocked"},
		{Report{UDPBlocked: No, IPv4: Family{Works: No}, IPv6: Family{Works: Yes, Mapping: Open}}, "ipv6_only"},
		{v4(No, Open, Open), "open/open"},
		{v4(No, Open, Unknown), "open/unknown"},
		{v4(Yes, EndpointIndependent, AddressAndPortDependent), "endpoint_independent/address_and_port_dependent"},
		{v4(Yes, AddressAndPortDependent, AddressAndPortDependent), "address_and_port_dependent/address_and_port_dependent"},
		{v4(Yes, Unknown, Unknown), "translated"},
		{v4(NotChecked, Unknown, Unknown), ""},
	} {
		got := tt.r.Behaviour()
		if got != tt.want || len(got) > 64 || got != "" && !slices.Contains(Behaviours(), got) {
			t.Errorf("%s: %q, want %q", tt.r, got, tt.want)
		}
	}
}
