package nat

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNoPath is what errors of Dial and Accept are when candidates were tried and
// none carried anything, or when the far end never answered. Another try may do
// better, on another network or with another far end's.
var ErrNoPath = errors.New("no path")

// Reasons that this package ends something with.
const (
	ReasonNoPath       = "no_path"       // candidates of both ends were tried, none passed a check
	ReasonNoCandidates = "no_candidates" // this end has no address that could be tried
	ReasonUnanswered   = "unanswered"    // the far end sent no offer in time
	ReasonSignaling    = "signaling"     // the exchanger failed before the far end was heard
	ReasonSocket       = "socket"        // the socket cannot be read
	ReasonPathLost     = "path_lost"     // the far end's checks stopped
	ReasonPathMoved    = "path_moved"    // ICE took another remote address
	ReasonSuperseded   = "superseded"    // the far end has begun anew
	ReasonUnsupported  = "unsupported"   // errors.ErrUnsupported
	ReasonConfig       = "config"        // the Config, or the secret, cannot be used
	ReasonInternal     = "internal"
)

// Error is what Dial, Accept and a Conn fail with, but for the caller's own
// context and net.ErrClosed.
type Error struct {
	Reason string      // one of the Reason constants
	Local  []Candidate // of this end, as far as they were found
	Remote []Candidate // of the far end, as far as they were told
	Far    string      // what the far end reported of its network, may be ""
	Err    error       // more about it, may be nil
}

// Error names the reason, the candidates and the far end's report: addresses, no
// secret.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("nat: " + e.Reason)
	if len(e.Local) > 0 || len(e.Remote) > 0 {
		b.WriteString(" between [" + join(e.Local) + "] and [" + join(e.Remote) + "]")
	}
	if e.Far != "" {
		fmt.Fprintf(&b, ", the far end says %q", e.Far)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

func join(list []Candidate) string {
	words := make([]string, len(list))
	for i, c := range list {
		words[i] = c.String()
	}
	return strings.Join(words, ", ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether e is ErrNoPath.
func (e *Error) Is(target error) bool {
	if target != ErrNoPath {
		return false
	}
	switch e.Reason {
	case ReasonNoPath, ReasonNoCandidates, ReasonUnanswered:
		return true
	}
	return false
}

// Code returns the reason.
func (e *Error) Code() string { return e.Reason }
