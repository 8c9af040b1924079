package reach

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/packet"
)

func TestRenew(t *testing.T) {
	token := bytes.Repeat([]byte("t"), MaxRenew)
	rules := deviceRules()
	rules.Renew = true
	open := rules // where a grant opens the port, too, it takes renewals
	open.Peers = []Peer{{operator, []Port{{packet.UDP, RenewPort}}}}
	for _, tt := range []struct {
		name  string
		rules Rules
		b     []byte
		want  Verdict
	}{
		{"a peer's", rules, AppendRenew(nil, operator, own, token), Renewal},
		{"IPv6", rules, AppendRenew(nil, six, own6, token[:1]), Renewal},
		{"padded by WireGuard", rules, append(AppendRenew(nil, operator, own, token[:99]), 0, 0, 0), Renewal},
		{"the port is granted", open, AppendRenew(nil, operator, own, token), Renewal},
		{"nobody wants it", deviceRules(), AppendRenew(nil, operator, own, token), Drop},
		{"an operator's end", operatorRules(), AppendRenew(nil, own, operator, token), Drop},
		{"a stranger's", rules, AppendRenew(nil, stranger, own, token), Drop},
		{"the node's", rules, AppendRenew(nil, node, own, token), Drop},
		{"not to this end", rules, AppendRenew(nil, operator, stranger, token), Drop},
		{"empty", rules, AppendRenew(nil, operator, own, nil), Drop},
		{"too long", rules, AppendRenew(nil, operator, own, append(token, 't')), Drop},
		{"a fragment", rules, fragment(AppendRenew(nil, operator, own, token), 0, true), Drop},
		{"TCP", rules, tcp(operator, 5000, own, RenewPort, syn), Drop},
	} {
		f := NewFilter(tt.rules, testEcho)
		if got := f.In(tt.b, time.Second); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
			continue
		}
		stats := f.Stats()
		if stats.LastUse != 0 || stats.Rx != 0 || stats.Flows != 0 {
			t.Errorf("%s: counts as use: %+v", tt.name, stats)
		}
		select {
		case got := <-f.Renewals():
			if tt.want != Renewal || len(got) == 0 || !bytes.HasPrefix(token, got) {
				t.Errorf("%s: got %q", tt.name, got)
			}
		default:
			if tt.want == Renewal {
				t.Errorf("%s: nothing was delivered", tt.name)
			}
		}
	}
}

// TestRenewRate sends ten a second for ten seconds.
func TestRenewRate(t *testing.T) {
	rules := deviceRules()
	rules.Renew = true
	f := NewFilter(rules, testEcho)
	taken := 0
	for i := range 100 {
		if f.In(AppendRenew(nil, operator, own, []byte{byte(i + 1)}), time.Second+time.Duration(i)*100*time.Millisecond) == Renewal {
			taken++
			<-f.Renewals()
		}
	}
	if taken < 20 || taken > 22 {
		t.Errorf("%d were taken", taken)
	}
	// Nobody takes them: bounded.
	for i := range 100 {
		f.In(AppendRenew(nil, operator, own, []byte{1}), time.Hour+time.Duration(i)*time.Second)
	}
	if n := len(f.Renewals()); n != renewsKept {
		t.Errorf("%d wait", n)
	}
}

func TestAppendRenew(t *testing.T) {
	for _, a := range []struct{ src, dst netip.Addr }{{operator, own}, {six, own6}} {
		for size := range 9 {
			b := AppendRenew([]byte("kept"), a.src, a.dst, make([]byte, size))
			if !bytes.HasPrefix(b, []byte("kept")) {
				t.Fatal("what was there is gone")
			}
			b = b[4:]
			var p packet.Info
			if !packet.Parse(b, &p) || p.Proto != packet.UDP || p.Src != a.src || p.Dst != a.dst || p.DstPort != RenewPort || p.PayloadLen != size {
				t.Fatalf("%d bytes: %+v", size, p)
			}
			addrs := b[12:20]
			if p.Version == 6 {
				addrs = b[8:40]
			} else if packet.Checksum(b[:20], 0) != 0 {
				t.Error("wrong header checksum")
			}
			udp := b[p.HeaderLen:]
			if sum := packet.Checksum(udp, packet.Sum(addrs, uint32(packet.UDP)+uint32(len(udp)))); sum != 0 || binary.BigEndian.Uint16(udp[6:]) == 0 {
				t.Errorf("%d bytes: wrong checksum %x", size, udp[6:8])
			}
		}
	}
	if b := AppendRenew(nil, operator, own6, nil); b != nil {
		t.Errorf("two families: % x", b)
	}
}
