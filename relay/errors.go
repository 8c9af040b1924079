package relay

import "errors"

// An Error is why a leg was refused or ended. Code is one of the relay's or of
// package keys' reasons, or "unreachable", "proxy", "tls", "no_relay".
type Error struct {
	Code  string
	Relay string // its URL
	Err   error
}

func (e *Error) Error() string {
	text := "relay: " + e.Code
	if e.Relay != "" {
		text = "relay " + e.Relay + ": " + e.Code
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// ErrAlone is Check's word while the other end has no leg.
var ErrAlone = errors.New("relay: the other end has no leg")

// final reports whether trying again, here or elsewhere, can bring nothing.
func final(code string) bool {
	switch code {
	case "ended", "revoked", "cloned", "superseded":
		return true
	}
	return false
}
