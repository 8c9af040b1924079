package bind

import (
	"time"

	"golang.zx2c4.com/wireguard/device"
)

// repeats are the times after its sending at which a message goes out again
// while unanswered. WireGuard itself would wait five seconds (RekeyTimeout).
// A repeated message does no harm: the far end refuses an initiation whose
// timestamp it has seen, and a response to no initiation of its own.
var repeats = [...]time.Duration{
	250 * time.Millisecond,
	500 * time.Millisecond,
	1000 * time.Millisecond,
	2000 * time.Millisecond,
}

// keepInitiation is how long an unanswered initiation is worth sending:
// WireGuard gives its handshake up after that time (RekeyAttemptTime).
const keepInitiation = device.RekeyAttemptTime

// A handshake decides when one peer's handshake messages leave. It is pure:
// messages and times in, messages out. Times are those of one monotonic clock.
//
// The initiation, of which only the newest counts:
//
//	      initiate, no path            path appears
//	none ───────────────────► kept ──────────────────────┐
//	 │                                                   ▼
//	 ├─ initiate in a hold ──────────────────────────► held ◄─ path appears or
//	 │                                                   │ due  changes in a hold
//	 │                                                   ▼
//	 └─ initiate ────────────────────────────────────► sent ──┐ repeats, and once
//	                                                     ▲    │ more at each change
//	                                                     └────┘ of the path
//	all ── answered (response or cookie), respond, 90 s ──► none
//
// A hold keeps two ends from beginning at once, which would cancel both
// handshakes: it lasts from the first initiation, and from each change of the
// path, and the far end's initiation ends it. Rekeys are not held, since
// WireGuard lets only one end begin them.
//
// The response:
//
//	none ── respond ──► sent ─┐ repeats
//	 ▲                   │ ▲  │
//	 └── confirmed, 2 s ─┘ └──┘
type handshake struct {
	hold time.Duration

	initiation [device.MessageInitiationSize]byte
	state      initiationState
	made       time.Duration // when the device made the initiation
	sent       time.Duration // when it first left, or left for a new path
	due        time.Duration // when held ends, or of the next repeat
	turn       int           // of the next repeat in repeats

	response     [device.MessageResponseSize]byte
	responding   bool
	responseSent time.Duration
	responseTurn int
	begun        bool          // an initiation was made, or a session was seen
	holdUntil    time.Duration // end of the hold
	hasPath      bool
}

type initiationState uint8

const (
	initiationNone initiationState = iota
	initiationKept
	initiationHeld
	initiationSent
)

// initiate takes the initiation that the device has just made and reports
// whether to send it now.
func (h *handshake) initiate(now time.Duration, msg []byte) (send bool) {
	copy(h.initiation[:], msg)
	h.made = now
	if !h.begun {
		h.begun = true
		h.holdUntil = max(h.holdUntil, now+h.hold)
	}
	return h.start(now)
}

// start puts a fresh or newly routed initiation on its way.
func (h *handshake) start(now time.Duration) (send bool) {
	switch {
	case !h.hasPath:
		h.state = initiationKept
	case now < h.holdUntil:
		h.state, h.due = initiationHeld, h.holdUntil
	default:
		h.leave(now)
		return true
	}
	return false
}

// leave notes that the initiation leaves now.
func (h *handshake) leave(now time.Duration) {
	h.state, h.sent, h.turn = initiationSent, now, 0
	h.due = now + repeats[0]
}

// respond takes the response that the device has just made, which is sent at
// once. The device has given up its own initiation for it.
func (h *handshake) respond(now time.Duration, msg []byte) {
	copy(h.response[:], msg)
	h.responding, h.responseSent, h.responseTurn = true, now, 0
	h.abandon()
}

// abandon drops the initiation.
func (h *handshake) abandon() { h.state = initiationNone }

// pathChange says what became of the path; moved: it leads to an address that
// was no part of it; added: it has such an address, if only for copies. It
// reports whether to send the initiation now.
func (h *handshake) pathChange(now time.Duration, hasPath, moved, added bool) (send bool) {
	h.hasPath = hasPath
	if moved && hasPath {
		h.holdUntil = now + h.hold
	}
	if h.expire(now); !hasPath {
		return false
	}
	switch h.state {
	case initiationKept:
		return h.start(now)
	case initiationSent:
		if moved {
			return h.start(now)
		}
		return added
	}
	return false
}

// answered takes the index of a response or cookie reply: the initiation with
// that index has arrived.
func (h *handshake) answered(index uint32) bool {
	if h.state == initiationNone || senderIndex(h.initiation[:]) != index {
		return false
	}
	h.state, h.begun = initiationNone, true
	return true
}

// confirmed takes the index of a transport message: the response with that index
// has arrived.
func (h *handshake) confirmed(index uint32) bool {
	if !h.responding || senderIndex(h.response[:]) != index {
		return false
	}
	h.responding, h.begun = false, true
	return true
}

// step returns what is due, in memory that is valid until the next call.
func (h *handshake) step(now time.Duration) (initiation, response []byte) {
	switch {
	case h.state == initiationHeld && now >= h.due:
		if h.hasPath {
			h.leave(now)
			initiation = h.initiation[:]
		} else {
			h.state = initiationKept
		}
	case h.state == initiationSent && h.turn < len(repeats) && now >= h.due:
		if h.turn++; h.turn < len(repeats) {
			h.due = max(h.sent+repeats[h.turn], now)
		}
		if h.hasPath {
			initiation = h.initiation[:]
		}
	}
	if h.responding && now >= h.responseSent+repeats[h.responseTurn] {
		if h.responseTurn++; h.responseTurn == len(repeats) {
			h.responding = false
		}
		if h.hasPath {
			response = h.response[:]
		}
	}
	return initiation, response
}

// expire drops an initiation that WireGuard no longer waits for.
func (h *handshake) expire(now time.Duration) {
	if h.state != initiationNone && now >= h.made+keepInitiation {
		h.state = initiationNone
	}
}

// next returns when step is due; ok is false when it is not.
func (h *handshake) next() (at time.Duration, ok bool) {
	if h.state == initiationHeld || h.state == initiationSent && h.turn < len(repeats) {
		at, ok = h.due, true
	}
	if h.responding {
		if r := h.responseSent + repeats[h.responseTurn]; !ok || r < at {
			at, ok = r, true
		}
	}
	return at, ok
}

// forget drops both messages: the device that made them is down.
func (h *handshake) forget() {
	h.state, h.responding, h.begun, h.holdUntil = initiationNone, false, false, 0
}
