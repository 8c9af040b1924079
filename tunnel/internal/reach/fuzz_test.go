package reach

import (
	"net/netip"
	"testing"
	"time"
)

// FuzzFilter feeds arbitrary packets in both directions and checks what passes
// with a reader of its own, written from the RFCs' layouts.
func FuzzFilter(f *testing.F) {
	f.Add(tcp(operator, 5000, own, 22, syn), tcp(own, 22, operator, 5000, synack), false)
	f.Add(udp(operator, 5000, own, 3389), udp(own, 3389, operator, 5000), false)
	f.Add(tcp(six, 5000, own6, 22, syn), tcp(own6, 22, six, 5000, synack), false)
	f.Add(reply(own, operator, 7, nil), echo(operator, own, 7, nil), true)
	f.Add(tcp(own, 22, operator, 5000, synack), tcp(operator, 5000, own, 22, syn), true)
	f.Add(fragment(udp(operator, 5000, own, 3389), 0, true), []byte{0x45}, false)
	f.Add(AppendRenew(nil, operator, own, []byte("token")), []byte{0x45}, false)
	f.Fuzz(func(t *testing.T, in, out []byte, outbound bool) {
		rules := deviceRules()
		rules.Renew = true
		if outbound {
			rules = operatorRules()
		}
		filter := NewFilter(rules, testEcho)
		// Out, in, out: what the second lets in may open the third, and the
		// first the second.
		first := filter.Out(out, time.Second)
		second := filter.In(in, time.Second)
		third := filter.Out(out, time.Second)
		if first == Pass {
			if !outbound {
				t.Errorf("a device began: % x", out)
			}
			if !allowed(out, rules, false) {
				t.Errorf("out: % x", out)
			}
		}
		if second == Pass {
			if !allowed(in, rules, true) {
				t.Errorf("in: % x", in)
			}
			if outbound && (first != Pass || !mirrored(in, out)) {
				t.Errorf("in without a flow: % x", in)
			}
		}
		if third == Pass && !outbound && (second != Pass || !mirrored(in, out)) {
			t.Errorf("out without a flow: % x", out)
		}
		if second == Renewal {
			src, dst, proto, payload, ok := look(in)
			if !ok || outbound || proto != 17 || len(payload) < 9 || payload[2] != RenewPort>>8 || payload[3] != RenewPort&0xff || !rules.own(dst) || rules.peer(src) == nil {
				t.Errorf("a renewal: % x", in)
			}
		}
		if second == Answer || second == Proved {
			src, dst, proto, _, ok := look(in)
			if !ok || proto != 1 && proto != 58 || !rules.own(dst) || rules.peer(src) == nil && !rules.proof(src) {
				t.Errorf("answered: % x", in)
			}
		}
	})
}

// look reads addresses, protocol and the payload's bytes.
func look(b []byte) (src, dst netip.Addr, proto byte, payload []byte, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && len(b) >= int(b[0]&15)*4:
		src, _ = netip.AddrFromSlice(b[12:16])
		dst, _ = netip.AddrFromSlice(b[16:20])
		return src, dst, b[9], b[int(b[0]&15)*4:], true
	case len(b) >= 40 && b[0]>>4 == 6:
		src, _ = netip.AddrFromSlice(b[8:24])
		dst, _ = netip.AddrFromSlice(b[24:40])
		return src, dst, b[6], b[40:], true
	}
	return src, dst, 0, nil, false
}

func port(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

// allowed says whether rules could ever let b pass.
func allowed(b []byte, r Rules, in bool) bool {
	src, dst, proto, payload, ok := look(b)
	if !ok || len(payload) < 8 {
		return false
	}
	mine, theirs, minePort := src, dst, port(payload)
	if in {
		mine, theirs, minePort = dst, src, port(payload[2:])
	}
	peer := r.peer(theirs)
	if !r.own(mine) || peer == nil {
		return false
	}
	switch proto {
	case 6, 17:
		return r.Outbound || peer.reaches(proto, minePort)
	case 1, 58:
		return r.Outbound
	}
	return false
}

// mirrored says whether a and b are of one flow in opposite directions.
func mirrored(a, b []byte) bool {
	asrc, adst, aproto, ap, ok1 := look(a)
	bsrc, bdst, bproto, bp, ok2 := look(b)
	if !ok1 || !ok2 || asrc != bdst || adst != bsrc || aproto != bproto || len(ap) < 8 || len(bp) < 8 {
		return false
	}
	if aproto == 1 || aproto == 58 {
		return port(ap[4:]) == port(bp[4:])
	}
	return port(ap) == port(bp[2:]) && port(ap[2:]) == port(bp)
}
