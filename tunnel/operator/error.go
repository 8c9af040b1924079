package operator

import (
	"errors"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/signaling"
)

// An Error is why a session did not open, or ended. Code is one of the stable
// codes of control, node or device; Stage is how far the session had come.
type Error struct {
	Stage signaling.Stage
	Code  string
	Err   error
}

func (e *Error) Error() string {
	if r, ok := errors.AsType[*client.Error](e.Err); ok {
		return r.Error() // says the code itself
	}
	text := "session " + e.Code
	if e.Stage != "" {
		text += " after " + string(e.Stage)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// CodeRemoved is why a session ended here that goes on without this operator:
// somebody else removed him.
const CodeRemoved = "removed"

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// ended says why a session that is over is over; nil when it ended as planned.
func ended(s client.Session) error {
	if s.State != client.Failed && s.Code == "" {
		return nil
	}
	e := &Error{Stage: signaling.Stage(s.Stage), Code: s.Code}
	if e.Code == "" {
		e.Code = string(s.State)
	}
	if s.Why != "" {
		e.Err = errors.New(s.Why)
	}
	return e
}

// refused gives control's refusals the form of an Error.
func refused(err error) error {
	if r, ok := errors.AsType[*client.Error](err); ok {
		return &Error{Code: r.Code, Err: err}
	}
	return err
}
