package agent

import (
	"errors"

	"github.com/boothwire/boothwire/tunnel"
)

// ErrHangup is why a session ended that the host closed by Hangup.
var ErrHangup = hangup{}

type hangup struct{}

func (hangup) Error() string { return "closed at the device" }

// Code is "hangup".
func (hangup) Code() string { return "hangup" }

// ErrNoProof is why a session failed that was not proved in time: its far end may
// be gone, or its grant came late.
var ErrNoProof = noProof{}

type noProof struct{}

func (noProof) Error() string { return "no proof came back in time" }

// Code is "no_proof".
func (noProof) Code() string { return "no_proof" }

// A RefusedError is the host's no, by MayOpen. The engineer reads its text.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return "refused at the device: " + e.Err.Error() }

// Unwrap returns the host's error.
func (e *RefusedError) Unwrap() error { return e.Err }

// Code is "refused_by_host".
func (e *RefusedError) Code() string { return "refused_by_host" }

// planned names the ends that a tunnel comes to by itself, as it should; empty
// for any other.
func planned(err error) string {
	switch {
	case errors.Is(err, tunnel.ErrLifetime):
		return "lifetime"
	case errors.Is(err, tunnel.ErrIdle):
		return "idle"
	}
	return ""
}

// code is an error's stable word, empty when it has none.
func code(err error) string {
	if word := planned(err); word != "" {
		return word
	}
	var c interface{ Code() string }
	if errors.As(err, &c) {
		return c.Code()
	}
	return ""
}
