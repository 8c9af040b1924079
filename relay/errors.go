package relay

import "errors"

// An Error is why a leg was refused or ended.
type Error struct {
	// Reason is a code of the relay's, which the package's doc lists, or of package
	// keys; or "unreachable", "proxy", "tls" or, where something else answers and
	// where the session has none, "no_relay".
	Reason string
	Relay  string // its URL
	Err    error  // what lies below; may be nil

	there bool // the relay, or what stands before it, took the connection
}

// Code returns Reason, which statuses carry.
func (e *Error) Code() string { return e.Reason }

func (e *Error) Error() string {
	text := "relay: " + e.Reason
	if e.Relay != "" {
		text = "relay " + e.Relay + ": " + e.Reason
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// full reports whether a relay is there that had no room, or no time: it hung up, said
// so, or did not finish.
func full(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Reason == "full" || e.Reason == "unreachable" && e.there)
}

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
