// Package strictjson decodes JSON that a stranger may have written. It accepts
// a subset of what encoding/json does, so that two readers of one message
// cannot understand it differently; it bounds no size, which callers do first.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"unicode/utf8"
)

// MaxDepth is how deep objects and arrays may nest; the outermost object is 1.
const MaxDepth = 8

// The codes of an Error.
const (
	Truncated = "truncated"     // it ends within the object
	Malformed = "malformed"     // not JSON, not UTF-8, no object, trailing bytes, wrong types or a name in the wrong case
	Duplicate = "duplicate_key" // one object names one field twice
	TooDeep   = "too_deep"      // nested deeper than MaxDepth
)

// Error says why a text was refused. It never quotes the text.
type Error struct {
	Reason string // Malformed, Truncated, Duplicate or TooDeep
	Err    error
}

func (e *Error) Error() string { return "strictjson: " + e.Reason + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Code returns the reason as a stable word.
func (e *Error) Code() string { return e.Reason }

// Unmarshal stores data, one JSON object and nothing after it, in v. It
// refuses with an *Error what encoding/json would let pass: invalid UTF-8,
// names that repeat in one object at any depth, names that match a field of v
// only when their case is folded, and nesting beyond MaxDepth. Names that v
// does not have are ignored. When it fails, v may be partly filled.
func Unmarshal(data []byte, v any) error {
	if !utf8.Valid(data) {
		return &Error{Malformed, errors.New("not UTF-8")}
	}
	if err := check(data, reflect.TypeOf(v)); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return &Error{Malformed, scrub(err)}
	}
	return nil
}

// Check is Unmarshal without a target: it looks at the form alone.
func Check(data []byte) error {
	if !utf8.Valid(data) {
		return &Error{Malformed, errors.New("not UTF-8")}
	}
	return check(data, nil)
}

// scrub keeps values of the input out of an error that may be logged.
func scrub(err error) error {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) {
		return fmt.Errorf("field %q does not hold a %v", t.Field, t.Type)
	}
	var s *json.SyntaxError
	if errors.As(err, &s) {
		return fmt.Errorf("syntax at byte %d", s.Offset)
	}
	return errors.New("it has the wrong form")
}

// check looks at the form of data, and at its names beside the type that it will be
// stored in.
func check(data []byte, t reflect.Type) error {
	if !json.Valid(data) {
		var any json.RawMessage
		err := json.NewDecoder(bytes.NewReader(data)).Decode(&any)
		if err == io.ErrUnexpectedEOF {
			return &Error{Truncated, errors.New("it ends within the object")}
		}
		if err == nil {
			err = errors.New("bytes after the object")
		}
		return &Error{Malformed, scrub(err)}
	}
	return walk(data, t)
}
