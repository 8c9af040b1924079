package nat

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const (
	labInside = "10.0.0.2:5000"
	labPublic = "198.51.100.1"
)

func labNAT(mapping, filtering Class) *labBox {
	return &labBox{
		public: netip.MustParseAddr(labPublic), inside: netip.MustParsePrefix("10.0.0.0/24"),
		mapping: mapping, filtering: filtering,
	}
}

// labProbe probes from labInside through box with servers.
func labProbe(t *testing.T, box *labBox, serve [][]string, servers []string, cfg *ProbeConfig, change func(*labNet)) (r Report, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(box)
		for _, s := range serve {
			defer n.serve(t, t.Context(), s...)()
		}
		sock := n.sock(labInside)
		if change != nil {
			change(n)
		}
		r, err = ProbeWith(t.Context(), sock, servers, cfg)
	})
	return r, err
}

func TestProbeClasses(t *testing.T) {
	classes := []Class{EndpointIndependent, AddressDependent, AddressAndPortDependent}
	for _, mapping := range append(classes, Open) {
		for _, filtering := range classes {
			t.Run(mapping.String()+"/"+filtering.String(), func(t *testing.T) {
				r, err := labProbe(t, labNAT(mapping, filtering), [][]string{square()}, []string{"192.0.2.1"}, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				want := Family{
					Works: Yes, NAT: Yes, Kept: No, Hairpin: No, Mapping: mapping, Filtering: filtering,
					Local: netip.MustParseAddrPort(labInside), Public: r.IPv4.Public,
				}
				if mapping == Open {
					want.NAT, want.Kept, want.Hairpin, want.Public = No, NotChecked, NotChecked, want.Local
					if filtering == EndpointIndependent {
						want.Filtering = Open
					}
				} else if r.IPv4.Public.Addr().String() != labPublic {
					t.Errorf("public %v", r.IPv4.Public)
				}
				if r.IPv4 != want {
					t.Errorf("got  %+v\nwant %+v", r.IPv4, want)
				}
				if r.UDPBlocked != No || r.IPv6 != (Family{}) || r.Lifetime != (Lifetime{}) {
					t.Errorf("%+v", r)
				}
			})
		}
	}
}

func TestProbeHairpinAndPort(t *testing.T) {
	for _, filtering := range []Class{EndpointIndependent, AddressAndPortDependent} {
		box := labNAT(EndpointIndependent, filtering)
		box.hairpin, box.keepPort = true, true
		r, err := labProbe(t, box, [][]string{square()}, []string{"192.0.2.1"}, nil, nil)
		if err != nil || r.IPv4.Hairpin != Yes || r.IPv4.Kept != Yes || r.IPv4.Filtering != filtering {
			t.Errorf("%v %v", r, err)
		}
	}
}

// What was kept out does not change what is seen of the mapping.
func TestProbeClash(t *testing.T) {
	for _, filtering := range []Class{AddressDependent, AddressAndPortDependent} {
		box := labNAT(EndpointIndependent, filtering)
		box.clash, box.clashes = true, make(map[[2]netip.AddrPort]bool)
		r, err := labProbe(t, box, [][]string{square()}, []string{"192.0.2.1"}, nil, nil)
		if err != nil || r.IPv4.Mapping != EndpointIndependent || r.IPv4.Filtering != filtering || len(box.clashes) == 0 {
			t.Errorf("%v %v", r, err)
		}
	}
}

func TestMappingOf(t *testing.T) {
	at := func(to, mapped string) sighting {
		return sighting{netip.MustParseAddrPort(to), netip.MustParseAddrPort("198.51.100.1:" + mapped)}
	}
	for _, c := range []struct {
		all  []sighting
		want Class
	}{
		{nil, Unknown},
		{[]sighting{at("192.0.2.1:1", "7")}, Unknown},
		{[]sighting{at("192.0.2.1:1", "7"), at("192.0.2.1:2", "7")}, Unknown},
		{[]sighting{at("192.0.2.1:1", "7"), at("192.0.2.1:1", "8")}, Unknown},
		{[]sighting{at("192.0.2.1:1", "7"), at("192.0.2.1:2", "8")}, AddressAndPortDependent},
		{[]sighting{at("192.0.2.1:1", "7"), at("192.0.2.2:1", "7")}, EndpointIndependent},
		{[]sighting{at("192.0.2.1:1", "7"), at("192.0.2.2:1", "8")}, AddressDependent},
		{[]sighting{at("192.0.2.1:1", "7"), at("192.0.2.2:1", "8"), at("192.0.2.3:1", "7")}, AddressDependent},
		{[]sighting{at("192.0.2.1:1", "7"), at("192.0.2.2:1", "8"), at("192.0.2.1:2", "9")}, AddressAndPortDependent},
	} {
		if got := mappingOf(c.all); got != c.want {
			t.Errorf("%v: %v, want %v", c.all, got, c.want)
		}
	}
}

func TestFilterClass(t *testing.T) {
	for _, c := range []struct {
		t    filterTest
		want Class
	}{
		{filterTest{}, Unknown},
		{filterTest{both: letIn}, EndpointIndependent},
		{filterTest{both: letIn, port: letIn, reachable: true, spoiled: true}, Unknown},
		{filterTest{both: letIn, port: kept, reachable: true, spoiled: true}, AddressAndPortDependent},
		{filterTest{both: kept, port: letIn, reachable: true}, AddressDependent},
		{filterTest{both: kept, port: kept, reachable: true}, AddressAndPortDependent},
		{filterTest{both: kept, port: kept}, Unknown},
		{filterTest{both: kept, port: letIn}, Unknown},
		{filterTest{both: kept, port: untold, reachable: true}, Unknown},
		{filterTest{both: untold, port: letIn, reachable: true}, Unknown},
		{filterTest{both: untold, port: kept, reachable: true}, Unknown},
		{filterTest{both: kept, port: letIn, reachable: true, spoiled: true, known: true}, Unknown},
	} {
		if got := c.t.class(); got != c.want {
			t.Errorf("%+v: %v, want %v", c.t, got, c.want)
		}
	}
}

// Servers without alternates tell the mapping, and nothing of the filter.
func TestProbePlainServers(t *testing.T) {
	two := [][]string{{"192.0.2.1:3478"}, {"192.0.2.9:3478"}}
	ports := [][]string{{"192.0.2.1:3478", "192.0.2.1:3479"}}
	for _, c := range []struct {
		name    string
		serve   [][]string
		servers []string
		box     Class
		want    Class
	}{
		{"two, same", two, []string{"192.0.2.1", "192.0.2.9"}, EndpointIndependent, EndpointIndependent},
		{"two, differ", two, []string{"192.0.2.1", "192.0.2.9"}, AddressAndPortDependent, AddressDependent},
		{"one", two, []string{"192.0.2.1"}, EndpointIndependent, Unknown},
		{"two ports, same", ports, []string{"192.0.2.1", "192.0.2.1:3479"}, AddressDependent, Unknown},
		{"two ports, differ", ports, []string{"192.0.2.1", "192.0.2.1:3479"}, AddressAndPortDependent, AddressAndPortDependent},
		{"one is silent", two, []string{"192.0.2.77", "192.0.2.1", "192.0.2.9"}, EndpointIndependent, EndpointIndependent},
		{"one is on this side", [][]string{{"10.0.0.9:3478"}, two[0], two[1]}, []string{"10.0.0.9", "192.0.2.1", "192.0.2.9"}, EndpointIndependent, EndpointIndependent},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := labProbe(t, labNAT(c.box, EndpointIndependent), c.serve, c.servers, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			f := r.IPv4
			if f.Mapping != c.want || f.Filtering != Unknown || f.NAT != Yes || f.Works != Yes || f.Public.Addr().String() != labPublic {
				t.Errorf("%+v", f)
			}
		})
	}
}

// What could not be told is not guessed.
func TestProbeFilterUnknown(t *testing.T) {
	other := netip.MustParseAddr("192.0.2.2")
	for name, c := range map[string]struct {
		servers []string
		change  func(*labNet)
		want    Class
	}{
		"the other address is down": {[]string{"192.0.2.1"}, func(n *labNet) {
			n.drop = func(from, to netip.AddrPort, _ []byte) bool { return from.Addr() == other || to.Addr() == other }
		}, Unknown},
		"the other port is down": {[]string{"192.0.2.1"}, func(n *labNet) {
			n.drop = func(from, to netip.AddrPort, _ []byte) bool { return from.Port() == 3479 || to.Port() == 3479 }
		}, Unknown},
		"the other address was asked": {[]string{"192.0.2.9", "192.0.2.2", "192.0.2.1"}, nil, AddressDependent},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := labProbe(t, labNAT(EndpointIndependent, AddressDependent), [][]string{square()}, c.servers, nil, c.change)
			if err != nil || r.IPv4.Filtering != c.want {
				t.Errorf("%v %v, want %v", r, err, c.want)
			}
		})
	}
	// Both of one server's addresses are asked before either says that it is enough.
	slow := func(n *labNet) {
		n.drop = func(from, to netip.AddrPort, _ []byte) bool {
			return len(n.socks) > 0 && to.Port() == 3478 && n.sent < 3
		}
	}
	r, err := labProbe(t, labNAT(EndpointIndependent, AddressDependent), [][]string{square()}, []string{"192.0.2.1", "192.0.2.2"}, nil, slow)
	if err != nil || r.IPv4.Filtering != Unknown {
		t.Errorf("spoiled: %v %v", r, err)
	}
}

func TestProbeLoss(t *testing.T) {
	lost := make(map[string]int)
	r, err := labProbe(t, labNAT(EndpointIndependent, AddressDependent), [][]string{square()}, []string{"192.0.2.1"}, nil, func(n *labNet) {
		n.drop = func(_, _ netip.AddrPort, data []byte) bool { // the first request and the first response of each
			key := string(data[:2]) + string(data[8:20])
			lost[key]++
			return lost[key] == 1
		}
	})
	if err != nil || r.IPv4.Mapping != EndpointIndependent || r.IPv4.Filtering != AddressDependent {
		t.Errorf("%v %v", r, err)
	}
}

func TestProbeBlocked(t *testing.T) {
	all := func(n *labNet) { n.drop = func(_, _ netip.AddrPort, _ []byte) bool { return true } }
	r, err := labProbe(t, labNAT(EndpointIndependent, EndpointIndependent), [][]string{square()}, []string{"192.0.2.1", "192.0.2.2"}, &ProbeConfig{Lifetime: time.Minute}, all)
	if err != nil || r.UDPBlocked != Yes || r.IPv4 != (Family{Works: No}) || r.IPv6.Works != NotChecked || r.Lifetime.Expires != NotChecked {
		t.Errorf("%+v %v", r, err)
	}
	// Without a route nothing is known about UDP.
	noRoute := func(n *labNet) { n.socks[netip.MustParseAddrPort(labInside)].fail = syscall.ENETUNREACH }
	r, err = labProbe(t, labNAT(EndpointIndependent, EndpointIndependent), [][]string{square()}, []string{"192.0.2.1", "[2001:db8::1]"}, nil, noRoute)
	if err != nil || r.UDPBlocked != NotChecked || r.IPv4.Works != No || r.IPv6.Works != NotChecked {
		t.Errorf("%+v %v", r, err)
	}
	if s := r.Servers; len(s) != 2 || s[0].Answered != NotChecked || s[0].Err == "" || s[1].Err == "" {
		t.Errorf("%+v", s)
	}
}

func TestProbeLifetime(t *testing.T) {
	for _, c := range []struct {
		binding, most time.Duration
		want          Fact
	}{
		{5 * time.Second, 2 * time.Minute, Yes},
		{20 * time.Second, 2 * time.Minute, Yes},
		{30 * time.Second, 2 * time.Minute, Yes},
		{119 * time.Second, 2 * time.Minute, Yes},
		{180 * time.Second, 2 * time.Minute, No},
		{0, 5 * time.Minute, No},
		{0, 10 * time.Second, No},
	} {
		t.Run(c.binding.String(), func(t *testing.T) {
			box := labNAT(AddressAndPortDependent, AddressAndPortDependent)
			box.lifetime = c.binding
			r, err := labProbe(t, box, [][]string{square()}, []string{"192.0.2.1"}, &ProbeConfig{Lifetime: c.most}, nil)
			if err != nil {
				t.Fatal(err)
			}
			l := r.Lifetime
			if l.Expires != c.want {
				t.Fatalf("%+v", l)
			}
			if c.want == No {
				if l.Survived != c.most || l.Lost != 0 {
					t.Errorf("%+v", l)
				}
			} else if l.Survived >= c.binding || l.Lost < c.binding-labDelay*2 || l.Lost-l.Survived > max(c.binding/7, time.Second) {
				t.Errorf("%+v, want around %v", l, c.binding)
			}
			// And it seeds a tuner.
			var k Keepalive
			k.Observe(l.Survived, true)
			k.Observe(l.Lost, false)
			if got := k.Interval(); c.want == Yes && c.binding > KeepaliveMin && got >= c.binding {
				t.Errorf("a keepalive each %v", got)
			}
		})
	}
}

// One loss is not taken for a binding's end, and plain servers are passed over.
func TestProbeLifetimeDoubt(t *testing.T) {
	box := labNAT(AddressAndPortDependent, AddressAndPortDependent)
	late := 0
	began := time.Time{}
	r, err := labProbe(t, box, [][]string{square()}, []string{"192.0.2.1"}, &ProbeConfig{Lifetime: time.Minute}, func(n *labNet) {
		began = time.Now()
		n.drop = func(from, _ netip.AddrPort, _ []byte) bool {
			if from.Addr().String() == "192.0.2.1" && time.Since(began) > 15*time.Second {
				late++
				return late == 1
			}
			return false
		}
	})
	if err != nil || r.Lifetime != (Lifetime{No, time.Minute, 0}) || late < 2 {
		t.Errorf("%+v %v, %d", r.Lifetime, err, late)
	}
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(labNAT(EndpointIndependent, EndpointIndependent))
		plain := n.sock("192.0.2.7:3478")
		defer servePlain(plain)()
		r, err := ProbeWith(t.Context(), n.sock(labInside), []string{"192.0.2.7"}, &ProbeConfig{Lifetime: time.Minute})
		if err != nil || r.Lifetime != (Lifetime{}) || r.IPv4.Works != Yes {
			t.Errorf("plain: %+v %v", r, err)
		}
		defer n.serve(t, t.Context(), square()...)()
		r, err = ProbeWith(t.Context(), n.sock("10.0.0.3:5000"), []string{"192.0.2.7", "192.0.2.1"}, &ProbeConfig{Lifetime: time.Minute})
		if err != nil || r.Lifetime.Survived != time.Minute {
			t.Errorf("plain and ours: %+v %v", r, err)
		}
	})
}

func TestProbeErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(labNAT(EndpointIndependent, EndpointIndependent))
		defer n.serve(t, t.Context(), square()...)()
		sock := n.sock(labInside)
		nine := make([]string, 9)
		for i := range nine {
			nine[i] = "192.0.2.1"
		}
		for name, servers := range map[string][]string{"none": nil, "nine": nine, "bad": {"a b"}, "port": {"192.0.2.1:x"}} {
			e := new(Error)
			if _, err := Probe(t.Context(), sock, servers); !errors.As(err, &e) || e.Reason != ReasonConfig {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := ProbeWith(t.Context(), sock, nine[:1], &ProbeConfig{Lifetime: time.Hour}); err == nil {
			t.Error("an hour of lifetime")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		r, err := ProbeWith(ctx, sock, nine[:1], &ProbeConfig{Lifetime: 5 * time.Minute})
		if !errors.Is(err, context.DeadlineExceeded) || r.IPv4.Filtering != EndpointIndependent || r.Lifetime.Survived < time.Minute {
			t.Errorf("interrupted: %+v %v", r, err)
		}
		// The socket is as it was.
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if r, err := Probe(ctx, sock, nine[:1]); !errors.Is(err, context.Canceled) || r.UDPBlocked != NotChecked || r.IPv4.Works != NotChecked {
			t.Errorf("canceled: %+v %v", r, err)
		}
		select {
		case <-sock.read.Wait():
			t.Error("a read deadline was left")
		default:
		}
	})
}
