package signaling

import (
	"context"
	"iter"
)

// The most that a message may have, in bytes.
const (
	MaxCommand = 8 << 10
	MaxStatus  = 4 << 10
)

// Message is what a transport carries: a command towards a device, a status
// from one.
type Message struct {
	Device   string // whose topic it is
	Payload  []byte
	Retained bool // a broker kept it; it was not sent just now
}

// Sink takes what a Listener receives. Its methods never block and keep no
// reference to what they are given; they may be called from any goroutine.
type Sink interface {
	Deliver(Message)
	// Connected tells that the line is up and subscribed, each time that it
	// comes up, and that it went, or that an attempt to bring it up failed.
	Connected(up bool)
}

// Listener is a device's end of a transport. It moves bytes and knows no
// meaning. It is safe for concurrent use.
type Listener interface {
	// Listen connects, and connects again, until ctx ends. It then sends what
	// was published before, if the line is up, for at most a second or two,
	// and returns ctx's error. Any other error is permanent.
	Listen(ctx context.Context, sink Sink) error
	// Publish sends a status. It never blocks. Of retained statuses the latest
	// counts. While the line is down both kinds may be dropped: Serve
	// publishes its document each time that the line comes up.
	Publish(status []byte, retain bool)
}

// Sender is control's end of a transport. It is safe for concurrent use.
type Sender interface {
	// Send hands a command over to the transport. That it succeeds says
	// nothing about the device: only the device's reply does.
	Send(ctx context.Context, device string, command []byte) error
	// Statuses yields what devices publish until ctx ends. An error is the
	// last item.
	Statuses(ctx context.Context) iter.Seq2[Message, error]
}

// Device signs and verifies for a device. A *keys.Device is one, and says what
// each method does. It must be safe for concurrent use; errors with a method
// Code() string are refused with that code.
type Device interface {
	ID() string
	Prekeys() []byte
	Rotate()
	RootsN() int
	Answer(ask []byte) ([]byte, error)
	Request(payload []byte) (token []byte, nonce string, err error)
	Sign(typ string, payload []byte) ([]byte, error)
	Verify(typ string, token []byte) ([]byte, error)
	UpdateRoots(lists []byte) error
	End(session string)
}

// Handler serves one session: one call is one session, and there is never more
// than one at a time. Its ctx ends with the session's down, and
// context.Cause(ctx) says why: an *Error whose Reason is ReasonDown, or the
// cause for which Serve ends. What it returns becomes the session's end: nil
// is disconnected, an error failed, with the error's Code() if it has one. An
// error may also have a method Stage() Stage that says which stage failed. A
// panic is an error with the code "internal".
//
// An error with one of the codes unknown_prekey, used_prekey, wrong_boot,
// node_not_allowed and port_not_allowed before Keyed was reached says that the
// Device did not accept the grant: that is told as a refusal, the device is as
// it was, and control may send the session again with another prekey.
type Handler func(ctx context.Context, s *Session) error
