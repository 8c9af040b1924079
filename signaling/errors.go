package signaling

import (
	"errors"
	"fmt"
)

// Reasons that this package refuses or ends something with. What a Device
// refuses has the Device's codes.
const (
	ReasonMalformed      = "malformed"        // not what a message looks like
	ReasonOversized      = "oversized"        // longer than its limit
	ReasonUnsupported    = "unsupported"      // an action that this release does not know
	ReasonUnsigned       = "unsigned"         // a bare command without authority
	ReasonNodeNotAllowed = "node_not_allowed" // a bare vpn_up for a node that is not configured
	ReasonRetained       = "retained"         // a broker kept the command
	ReasonReplayed       = "replayed"         // an earlier rev, or the same with other content
	ReasonClosed         = "closed"           // its session is over
	ReasonBusy           = "busy"             // another session is open
	ReasonFlood          = "flood"            // too many messages in too short a time
	ReasonDown           = "down"             // a cause: the session was told to end
	ReasonUnanswered     = "unanswered"       // a request that nobody answered in its time
	ReasonRefused        = "refused"          // a request that control refused
	ReasonLineDown       = "line_down"        // the transport has no connection
	ReasonInternal       = "internal"         // the program's own failure: a panic, or an error without a code
)

// Error is what this package's functions return, and the cause for which a
// session's context ends.
type Error struct {
	Reason string // one of the Reason constants, or control's word for a refused request
	Err    error  // more about it, may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return "signaling: " + e.Reason
	}
	return "signaling: " + e.Reason + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Code returns the reason.
func (e *Error) Code() string { return e.Reason }

// refuse makes an *Error; what is formatted must not be secret.
func refuse(reason, format string, a ...any) error {
	return &Error{Reason: reason, Err: fmt.Errorf(format, a...)}
}

// codeOf returns the code of err, or none if it has none that can travel.
func codeOf(err error, none string) string {
	var c interface{ Code() string }
	if errors.As(err, &c) && validCode(c.Code()) {
		return c.Code()
	}
	return none
}
