package nat

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/nat/internal/stun"
)

// liar answers every request at s with what lies makes of it, until stop.
func liar(s *labSock, lies func(req stun.Message, from netip.AddrPort)) (stop func()) {
	var done sync.WaitGroup
	done.Go(func() {
		_ = packetSock{PacketConn: s}.receive(func(b []byte, from netip.AddrPort) {
			if m, err := stun.Parse(b); err == nil && m.Type == stun.BindingRequest {
				lies(m, from)
			}
		})
	})
	return func() {
		s.read.Set(time.Unix(1, 0))
		done.Wait()
	}
}

// Only an answer counts, of who was asked.
func TestForgedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(nil)
		server, forger := n.sock("192.0.2.1:3478"), n.sock("192.0.2.66:3478")
		reply := func(via *labSock, to netip.AddrPort, typ uint16, id stun.ID, mapped string) {
			b := stun.AddXORAddress(stun.New(typ, id), stun.XORMappedAddress, netip.MustParseAddrPort(mapped))
			n.send(via.local, to, stun.AddFingerprint(b))
		}
		stop := liar(server, func(req stun.Message, from netip.AddrPort) {
			reply(forger, from, stun.BindingSuccess, req.ID, "198.51.100.66:66")
			reply(server, from, stun.BindingRequest, req.ID, "198.51.100.66:66")
			reply(server, from, stun.BindingSuccess, stun.ID{1}, "198.51.100.66:66")
			n.send(server.local, from, []byte("garbage"))
			// 20 of them do not block the reader.
			for range 20 {
				reply(forger, from, stun.BindingSuccess, req.ID, "198.51.100.66:66")
			}
			time.AfterFunc(time.Millisecond, func() { reply(server, from, stun.BindingSuccess, req.ID, "203.0.113.5:4000") })
		})
		defer stop()
		sock := n.sock("203.0.113.5:4000")
		r, err := Probe(t.Context(), sock, []string{"192.0.2.1"})
		if err != nil || r.IPv4.Public.String() != "203.0.113.5:4000" || r.IPv4.NAT != No {
			t.Errorf("%v %v", r, err)
		}
	})
}

// A server may say that its alternate address is anything; what cannot be is not
// sent to.
func TestForgedAlternate(t *testing.T) {
	for _, c := range []struct {
		other string
		ok    Fact
	}{
		{"192.0.2.2:3479", Yes},
		{"192.0.2.1:3479", No},
		{"192.0.2.2:3478", No},
		{"[2001:db8::1]:3479", No},
		{"127.0.0.1:3479", No},
		{"169.254.169.254:80", No},
		{"255.255.255.255:3479", No},
		{"224.0.0.1:3479", No},
		{"0.0.0.0:3479", No},
		{"192.0.2.2:0", No},
	} {
		t.Run(c.other, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newLabNet(nil)
				server := n.sock("192.0.2.1:3478")
				stop := liar(server, func(req stun.Message, from netip.AddrPort) {
					b := stun.AddXORAddress(stun.New(stun.BindingSuccess, req.ID), stun.XORMappedAddress, from)
					b = stun.AddAddress(b, stun.OtherAddress, netip.MustParseAddrPort(c.other))
					n.send(server.local, from, stun.AddFingerprint(b))
				})
				defer stop()
				var to []netip.AddrPort
				n.drop = func(from, dst netip.AddrPort, _ []byte) bool {
					if from != server.local {
						to = append(to, dst)
					}
					return false
				}
				r, err := Probe(t.Context(), n.sock("203.0.113.5:4000"), []string{"192.0.2.1"})
				if err != nil || r.Servers[0].Tests != c.ok || r.IPv4.Filtering != Unknown || r.IPv4.Mapping != Open {
					t.Errorf("%+v %v", r, err)
				}
				if c.ok == No && slices.ContainsFunc(to, func(a netip.AddrPort) bool { return a != server.local }) {
					t.Errorf("sent to %v", to)
				}
			})
		})
	}
}
