package mux

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v2"
	"github.com/pion/stun"
	"go.uber.org/goleak"

	"github.com/boothwire/boothwire/internal/leaktest"
)

const patience = 20 * time.Second

func listen(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func open(t testing.TB, sock net.PacketConn, cfg Config) *Mux {
	t.Helper()
	m, err := New(sock, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func addrOf(c net.PacketConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// Several agents of one socket talk to several of one other, all between the
// same two addresses, with pion's own gathering by way of a STUN server.
func TestAgents(t *testing.T) {
	server, a, b := listen(t), listen(t), listen(t)
	defer leaktest.None(t, goleak.IgnoreCurrent())
	defer answer(t, server, 1)()
	ma, mb := open(t, a, Config{}), open(t, b, Config{})
	defer ma.Close()
	defer mb.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var pairs, gathers sync.WaitGroup
	var conns [3][2]*ice.Conn
	var agents [3][2]*ice.Agent
	for i := range agents {
		agents[i] = [2]*ice.Agent{agent(t, ma, server), agent(t, mb, server)}
		for j, own := range agents[i] {
			far := agents[i][1-j]
			gathers.Add(1)
			_ = own.OnCandidate(func(c ice.Candidate) {
				if c == nil {
					gathers.Done()
					return
				}
				_ = far.AddRemoteCandidate(copied(t, c))
			})
		}
		for j, own := range agents[i] {
			if err := own.GatherCandidates(); err != nil {
				t.Fatal(err)
			}
			ufrag, pwd, err := agents[i][1-j].GetLocalUserCredentials()
			if err != nil {
				t.Fatal(err)
			}
			connect := own.Dial
			if j == 1 {
				connect = own.Accept
			}
			pairs.Go(func() {
				c, err := connect(ctx, ufrag, pwd)
				if err != nil {
					t.Errorf("agent %d.%d: %v", i, j, err)
				}
				conns[i][j] = c
			})
		}
	}
	pairs.Wait()
	gathers.Wait() // pion leaves the conns that it gathers while it closes
	for i := range agents {
		for j, own := range agents[i] {
			if conns[i][j] == nil {
				continue
			}
			if got, want := conns[i][j].RemoteAddr().String(), []net.Addr{b.LocalAddr(), a.LocalAddr()}[j].String(); got != want {
				t.Errorf("agent %d.%d: a path to %s, want %s", i, j, got, want)
			}
			ufrag, _, _ := own.GetLocalUserCredentials()
			m, remote := []*Mux{ma, mb}[j], []netip.AddrPort{addrOf(b), addrOf(a)}[j]
			if got, ok := m.Mapped(ufrag, remote); !ok || got != []netip.AddrPort{addrOf(a), addrOf(b)}[j] {
				t.Errorf("agent %d.%d: mapped to %v", i, j, got)
			}
		}
	}
	for i := range agents {
		for _, own := range agents[i] {
			if err := own.GracefulClose(); err != nil {
				t.Error(err)
			}
		}
	}
	ma.mu.Lock()
	defer ma.mu.Unlock()
	if len(ma.conns) != 0 || len(ma.sent.owner) != 0 || len(ma.asks) != 0 {
		t.Errorf("left behind: %d agents, %d requests, %d queries", len(ma.conns), len(ma.sent.owner), len(ma.asks))
	}
}

func copied(t *testing.T, c ice.Candidate) ice.Candidate {
	t.Helper()
	other, err := ice.UnmarshalCandidate(c.Marshal())
	if err != nil {
		t.Error(err)
	}
	return other
}

func agent(t *testing.T, m *Mux, server net.PacketConn) *ice.Agent {
	t.Helper()
	s := addrOf(server)
	a, err := ice.NewAgent(&ice.AgentConfig{
		Urls:             []*stun.URI{{Scheme: stun.SchemeTypeSTUN, Host: s.Addr().String(), Port: int(s.Port()), Proto: stun.ProtoTypeUDP}},
		UDPMux:           m,
		UDPMuxSrflx:      m,
		NetworkTypes:     []ice.NetworkType{ice.NetworkTypeUDP4},
		CandidateTypes:   []ice.CandidateType{ice.CandidateTypeHost, ice.CandidateTypeServerReflexive},
		MulticastDNSMode: ice.MulticastDNSModeDisabled,
		IncludeLoopback:  true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// answer serves STUN but for the first lose queries, until stop.
func answer(t *testing.T, sock *net.UDPConn, lose int) (stop func()) {
	t.Helper()
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := sock.ReadFromUDP(buf)
			if err != nil {
				return
			}
			req := &stun.Message{Raw: slices.Clone(buf[:n])}
			if lose--; lose >= 0 || req.Decode() != nil {
				continue
			}
			res, err := stun.Build(req, stun.BindingSuccess, &stun.XORMappedAddress{IP: from.IP, Port: from.Port})
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = sock.WriteToUDP(res.Raw, from)
		}
	})
	return func() {
		_ = sock.SetReadDeadline(time.Unix(1, 0))
		done.Wait()
	}
}

func TestQuery(t *testing.T) {
	server, sock := listen(t), listen(t)
	defer leaktest.None(t, goleak.IgnoreCurrent())
	defer answer(t, server, 2)()
	m := open(t, sock, Config{Refuse: []netip.Prefix{netip.MustParsePrefix("10.166.0.0/16")}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got, err := m.Query(ctx, addrOf(server)); err != nil || got != addrOf(sock) {
				t.Errorf("Query: %v, %v, want %v", got, err, addrOf(sock))
			}
		})
	}
	all.Wait()
	if _, err := m.Query(ctx, netip.MustParseAddrPort("10.166.0.1:3478")); !errors.Is(err, errRefused) {
		t.Errorf("Query of a refused address: %v", err)
	}
	if _, err := m.Query(ctx, netip.MustParseAddrPort("169.254.169.254:80")); !errors.Is(err, errRefused) {
		t.Errorf("Query of a link-local address: %v", err)
	}
	silent := listen(t)
	short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	if _, err := m.Query(short, addrOf(silent)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Query of a silent server: %v", err)
	}
	if _, err := m.GetXORMappedAddr(silent.LocalAddr(), 10*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("GetXORMappedAddr of a silent server: %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { m.Close() })
	if _, err := m.Query(ctx, addrOf(silent)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Query until Close: %v", err)
	}
	m.Close()
}

// Only who was asked can answer.
func TestQueryForged(t *testing.T) {
	server, sock, other := listen(t), listen(t), listen(t)
	m := open(t, sock, Config{})
	defer m.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		buf := make([]byte, 1500)
		n, from, err := server.ReadFromUDP(buf)
		if err != nil {
			t.Error(err)
			return
		}
		req := &stun.Message{Raw: buf[:n]}
		if err := req.Decode(); err != nil {
			t.Error(err)
			return
		}
		wrong, _ := stun.Build(req, stun.BindingSuccess, &stun.XORMappedAddress{IP: net.IPv4(192, 0, 2, 1), Port: 1})
		empty, _ := stun.Build(req, stun.BindingSuccess)
		refusal, _ := stun.Build(req, stun.BindingError, stun.CodeBadRequest)
		right, _ := stun.Build(req, stun.BindingSuccess, &stun.XORMappedAddress{IP: from.IP, Port: from.Port})
		_, _ = other.WriteToUDP(wrong.Raw, from)
		_, _ = server.WriteToUDP(empty.Raw, from)
		_, _ = server.WriteToUDP(refusal.Raw, from)
		time.Sleep(10 * time.Millisecond)
		_, _ = server.WriteToUDP(right.Raw, from)
	})
	if got, err := m.Query(ctx, addrOf(server)); err != nil || got != addrOf(sock) {
		t.Errorf("Query: %v, %v", got, err)
	}
}

// Close gives the socket back as it was.
func TestClose(t *testing.T) {
	sock, far := listen(t), listen(t)
	defer leaktest.None(t, goleak.IgnoreCurrent())
	for range 50 {
		m := open(t, sock, Config{})
		c, err := m.GetConn("ufrag", sock.LocalAddr())
		if err != nil {
			t.Fatal(err)
		}
		var closers sync.WaitGroup
		closers.Go(func() {
			if _, _, err := c.ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("ReadFrom: %v", err)
			}
		})
		closers.Go(func() { m.Close() })
		m.Close()
		closers.Wait()
		if _, err := m.GetConn("ufrag", sock.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("GetConn: %v", err)
		}
		if m.Err() != nil {
			t.Error(m.Err())
		}
	}
	if _, err := far.WriteTo([]byte("x"), sock.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if n, _, err := sock.ReadFrom(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
}

// A socket that is closed ends the Mux.
func TestSocketClosed(t *testing.T) {
	sock := listen(t)
	defer leaktest.None(t, goleak.IgnoreCurrent())
	m := open(t, sock, Config{})
	sock.Close()
	<-m.Done()
	if !errors.Is(m.Err(), net.ErrClosed) {
		t.Errorf("Err: %v", m.Err())
	}
	m.Close()
}

type anySock struct {
	net.PacketConn
	addr string
}

func (s anySock) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(s.addr))
}

func TestAddresses(t *testing.T) {
	host := []string{"127.0.0.1", "::1", "192.0.2.7", "10.166.3.4", "169.254.1.2", "fe80::1%eth0",
		"2001:db8::7", "fd00::7", "::ffff:192.0.2.8", "192.0.2.7", "0.0.0.0", "224.0.0.5"}
	for _, test := range []struct {
		bound string
		want  []string
		base  int
	}{
		{"0.0.0.0:7", []string{"192.0.2.7:7", "192.0.2.8:7"}, 1},
		{"[::]:7", []string{"192.0.2.7:7", "[2001:db8::7]:7", "[fd00::7]:7", "192.0.2.8:7"}, 2},
		{"127.0.0.1:7", []string{"127.0.0.1:7"}, 1},
		{"[::1]:7", []string{"[::1]:7"}, 1},
		{"[::ffff:192.0.2.7]:7", []string{"192.0.2.7:7"}, 1},
		{"10.166.3.4:7", nil, 0},
	} {
		t.Run(test.bound, func(t *testing.T) {
			var addrs []netip.Addr
			for _, a := range host {
				addrs = append(addrs, netip.MustParseAddr(a))
			}
			m := open(t, anySock{listen(t), test.bound}, Config{
				Refuse:     []netip.Prefix{netip.MustParsePrefix("10.166.0.0/16")},
				Interfaces: func() ([]netip.Addr, error) { return addrs, nil },
			})
			defer m.Close()
			var got []string
			for _, a := range m.GetListenAddresses() {
				got = append(got, a.String())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if got := m.Base().GetListenAddresses(); len(got) != test.base {
				t.Errorf("base %v, want %d", got, test.base)
			}
			addrs = addrs[:0] // the network went
			if got := m.Addresses(); len(got) > 1 || len(got) == 1 && m.local.Addr().IsUnspecified() {
				t.Errorf("after a change %v", got)
			}
			if got := m.Base().GetListenAddresses(); len(got) != min(1, test.base) {
				t.Errorf("base after a change %v", got)
			}
		})
	}
}

// An address that never answers gets every check for half a second, then every fifth.
func TestSilentAddress(t *testing.T) {
	sock, far := listen(t), listen(t)
	m := open(t, sock, Config{})
	defer m.Close()
	pc, err := m.GetConn("ufrag", sock.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	send := func() {
		req, err := stun.Build(stun.TransactionID, stun.BindingRequest)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pc.WriteTo(req.Raw, far.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	count := func(want int) (n int) {
		for {
			_ = far.SetReadDeadline(time.Now().Add(patience))
			if n >= want {
				_ = far.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			}
			if _, _, err := far.ReadFrom(make([]byte, 100)); err != nil {
				return n
			}
			n++
		}
	}
	for range eager + 50 {
		send()
	}
	if n := count(eager + 10); n != eager+10 {
		t.Errorf("%d checks, want %d", n, eager+10)
	}
	first := pc
	if pc, err = m.GetConn("next", sock.LocalAddr()); err != nil { // another generation
		t.Fatal(err)
	}
	for range 10 {
		send()
	}
	if n := count(2); n != 2 {
		t.Errorf("%d checks of 10 of another agent", n)
	}
	first.(*conn).deliver([]byte("x"), addrOf(far))
	for range 10 {
		send()
	}
	if n := count(10); n != 10 {
		t.Errorf("%d checks of 10 after it was heard", n)
	}
}

// What comes from a refused address, or names an unknown agent, is nobody's.
func TestHandle(t *testing.T) {
	m := open(t, listen(t), Config{Refuse: []netip.Prefix{netip.MustParsePrefix("10.166.0.0/16")}})
	defer m.Close()
	v4, err := m.GetConn("ufrag", &net.UDPAddr{IP: net.IPv4zero})
	if err != nil {
		t.Fatal(err)
	}
	v6, err := m.GetConn("ufrag", &net.UDPAddr{IP: net.IPv6unspecified})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, from string
		want       net.PacketConn
	}{
		{"ufrag:far", "192.0.2.9:9", v4},
		{"ufrag:far", "[2001:db8::9]:9", v6},
		{"ufrag", "192.0.2.9:9", v4},
		{"ufrag:far", "10.166.0.9:9", nil},
		{"ufrag:far", "[fe80::9]:9", nil},
		{"far:ufrag", "192.0.2.9:9", nil},
		{"", "192.0.2.9:9", nil},
	} {
		req, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(test.name))
		if err != nil {
			t.Fatal(err)
		}
		m.handle(req.Raw, netip.MustParseAddrPort(test.from))
		for _, c := range []net.PacketConn{v4, v6} {
			if got := len(c.(*conn).queue); (got == 1) != (c == test.want) {
				t.Errorf("%q from %s: %d at a conn", test.name, test.from, got)
			}
			for len(c.(*conn).queue) > 0 {
				<-c.(*conn).queue
			}
		}
	}
	for range queued + 20 {
		v4.(*conn).deliver([]byte("x"), netip.AddrPort{})
	}
	if got := len(v4.(*conn).queue); got != queued {
		t.Errorf("%d queued", got)
	}
}

func FuzzHandle(f *testing.F) {
	req, _ := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername("ufrag:far"),
		stun.NewShortTermIntegrity("pwd"), stun.Fingerprint)
	f.Add(req.Raw, true)
	res, _ := stun.Build(stun.NewTransactionIDSetter(id{1}), stun.BindingSuccess,
		&stun.XORMappedAddress{IP: net.IPv4(192, 0, 2, 1), Port: 5}, stun.Fingerprint)
	f.Add(res.Raw, false)
	plain, _ := stun.Build(stun.NewTransactionIDSetter(id{2}), stun.BindingSuccess,
		&stun.MappedAddress{IP: net.ParseIP("2001:db8::1"), Port: 5})
	f.Add(plain.Raw, true)
	refusal, _ := stun.Build(stun.NewTransactionIDSetter(id{1}), stun.BindingError, stun.CodeRoleConflict)
	f.Add(refusal.Raw, false)
	f.Add([]byte{1, 0, 0, 0, 0x21, 0x12, 0xa4, 0x42}, false)
	from4, from6 := netip.MustParseAddrPort("192.0.2.9:9"), netip.MustParseAddrPort("[2001:db8::9]:9")
	f.Fuzz(func(t *testing.T, data []byte, ipv6 bool) {
		m := &Mux{conns: make(map[string][]*conn), asks: make(map[id]*ask)}
		c, err := m.GetConn("ufrag", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1})
		if err != nil {
			t.Fatal(err)
		}
		m.sent.add(id{1}, c.(*conn))
		from := from4
		if ipv6 {
			from = from6
		}
		a := &ask{to: from, wanted: func(*stun.Message) bool { return true }, got: make(chan *stun.Message, 1)}
		m.asks[id{2}] = a
		m.handle(data, from)
		m.handle(data, from)
		select {
		case d := <-c.(*conn).queue:
			if !slices.Equal(d.data, data) || d.from != from {
				t.Error("changed on its way")
			}
		default:
		}
		request(data)
	})
}
