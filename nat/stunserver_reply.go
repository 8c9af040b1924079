package nat

import (
	"net/netip"
	"time"

	"github.com/boothwire/boothwire/nat/internal/stun"
)

// replyMost is how long the reply to a request of n bytes may be, so that on the
// wire, with the headers of IP and UDP, it is at most twice the request: whoever
// forges a source gains little. That leaves room for all of RFC 5780 in the answer
// to an IPv4 request of 20 bytes, which is the smallest.
func replyMost(n int, from netip.Addr) int {
	headers := 20 + 8
	if from.Is6() {
		headers = 40 + 8
	}
	return 2*(n+headers) - headers
}

// A writer makes the replies to one request.
type writer struct {
	id            stun.ID
	most          int
	mapped        netip.AddrPort
	origin, other netip.AddrPort // zero without alternates
	delays        bool
}

// success is the response that was delayed for delay. All of it fits but for
// RESPONSE-ORIGIN, which the source address tells too: to an IPv6 request of less
// than 32 bytes it may be left out.
func (w *writer) success(delay time.Duration) []byte {
	b := stun.New(stun.BindingSuccess, w.id)
	b = stun.AddXORAddress(b, stun.XORMappedAddress, w.mapped)
	if w.delays {
		b = stun.AddUint32(b, attrDelayedResponse, uint32(delay/time.Millisecond))
	}
	if w.other.IsValid() {
		b = stun.AddAddress(b, stun.OtherAddress, w.other)
		if len(b)+stun.AddressSize(w.origin)+stun.FingerprintSize <= w.most {
			b = stun.AddAddress(b, stun.ResponseOrigin, w.origin)
		}
	}
	return stun.AddFingerprint(b)
}

// unknown refuses attributes, each of which took 4 bytes at least and is told in 2.
func (w *writer) unknown(list []stun.Attr) []byte {
	b := stun.AddError(stun.New(stun.BindingError, w.id), 420)
	return stun.AddFingerprint(stun.AddUnknown(b, list))
}

func (w *writer) badRequest() []byte {
	return stun.AddFingerprint(stun.AddError(stun.New(stun.BindingError, w.id), 400))
}
