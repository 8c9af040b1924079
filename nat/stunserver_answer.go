package nat

import (
	"net/netip"
	"time"

	"github.com/boothwire/boothwire/nat/internal/stun"
)

// A vantage is one socket of the server, with those that CHANGE-REQUEST leads to.
type vantage struct {
	index int
	// alternates tells whether corners are there: where responses come from, by the
	// flags of CHANGE-REQUEST divided by 2. The first is the socket itself.
	alternates bool
	corners    [4]corner
}

type corner struct {
	index int // of the socket
	addr  netip.AddrPort
}

// A ruling is what becomes of a request.
type ruling struct {
	id    stun.ID
	via   int    // the socket that sends the reply
	reply []byte // nil: there is none
	delay time.Duration
	now   []byte // sent at once instead, if delay cannot be had
}

// answer reads a datagram and says what is sent to its source. Only requests are
// answered, so that two servers never talk to each other; and what a reply may
// tell is told, anything else is dropped.
func (v *vantage) answer(datagram []byte, from netip.AddrPort) ruling {
	req, err := stun.Parse(datagram)
	if err != nil || req.Type != stun.BindingRequest || !answerable(from) {
		return ruling{}
	}
	asked, unknown, ok := v.read(req)
	w := writer{id: req.ID, most: replyMost(len(datagram), from.Addr())}
	r := ruling{id: req.ID, via: v.index}
	switch {
	case len(unknown) > 0:
		r.reply = w.unknown(unknown)
		return r
	case !ok:
		r.reply = w.badRequest()
		return r
	}
	origin := v.corners[asked.change]
	r.via = origin.index
	w.mapped, w.delays = from, asked.delays
	if v.alternates {
		w.origin, w.other = origin.addr, v.corners[3].addr
	}
	r.reply = w.success(0)
	if asked.delay > 0 && asked.delay <= delayMost {
		r.now, r.delay = r.reply, asked.delay
		r.reply = w.success(asked.delay)
	}
	return r
}

// asked is what a request wants beside its answer.
type asked struct {
	change int // an index of corners
	delays bool
	delay  time.Duration
}

// read returns what is asked; the attributes that had to be understood and are
// not; and whether the others are well-formed.
func (v *vantage) read(req stun.Message) (ask asked, unknown []stun.Attr, ok bool) {
	ok = true
	var changes bool
	for a, value := range req.All() {
		switch {
		case a == stun.ChangeRequest && v.alternates:
			if changes {
				continue // the first one counts
			}
			n, good := stun.Uint32(value)
			changes, ok = true, ok && good
			ask.change = int(n&(stun.ChangeIP|stun.ChangePort)) / 2
		case a == attrDelayedResponse:
			if ask.delays {
				continue
			}
			n, good := stun.Uint32(value)
			ask.delays, ok = true, ok && good
			ask.delay = time.Duration(n) * time.Millisecond
		case a.Required() && !needless(a):
			unknown = append(unknown, a)
		}
	}
	return ask, unknown, ok
}

// needless are attributes of RFC 8489 that a server without credentials
// understands and needs not. PADDING and RESPONSE-PORT of RFC 5780 are not among
// them: they make big answers, and answers to others.
func needless(a stun.Attr) bool {
	switch a {
	case stun.MappedAddress, stun.Username, stun.MessageIntegrity, stun.ErrorCode,
		stun.UnknownAttributes, stun.Realm, stun.Nonce, stun.MessageIntegritySHA256,
		stun.PasswordAlgorithm, stun.Userhash, stun.XORMappedAddress:
		return true
	}
	return false
}

// answerable reports whether from can be a host's.
func answerable(from netip.AddrPort) bool {
	ip := from.Addr()
	return ip.IsValid() && from.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast() &&
		ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
