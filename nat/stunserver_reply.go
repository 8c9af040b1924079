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

// success is the response that was delayed for delay. What does not fit is left
// out, the least needed first: RESPONSE-ORIGIN, which the source address tells too.
func (w *writer) success(delay time.Duration) []byte {
	b := stun.New(stun.BindingSuccess, w.id)
	b = stun.AddXORAddress(b, stun.XORMappedAddress, w.mapped)
	if w.delays && w.fits(b, stun.Uint32Size) {
		b = stun.AddUint32(b, attrDelayedResponse, uint32(delay/time.Millisecond))
	}
	if w.other.IsValid() {
		if size := stun.AddressSize(w.other); w.fits(b, size) {
			b = stun.AddAddress(b, stun.OtherAddress, w.other)
		}
		if size := stun.AddressSize(w.origin); w.fits(b, size+stun.FingerprintSize) {
			b = stun.AddAddress(b, stun.ResponseOrigin, w.origin)
		}
	}
	return w.end(b)
}

// unknown refuses attributes, each of which took 4 bytes at least and is told in 2.
func (w *writer) unknown(list []stun.Attr) []byte {
	return w.end(stun.AddUnknown(stun.AddError(stun.New(stun.BindingError, w.id), 420), list))
}

func (w *writer) badRequest() []byte {
	return w.end(stun.AddError(stun.New(stun.BindingError, w.id), 400))
}

func (w *writer) fits(b []byte, more int) bool { return len(b)+more <= w.most }

func (w *writer) end(b []byte) []byte {
	if w.fits(b, stun.FingerprintSize) {
		b = stun.AddFingerprint(b)
	}
	return b
}
