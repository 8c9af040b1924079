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
	return errors.New("a value has the wrong form")
}

// level is one open object or array on the way down.
type level struct {
	object bool
	name   bool // an object that awaits a name
	seen   map[string]bool
	shape  *shape       // of the object itself, if its names are known
	next   reflect.Type // of the value to come, nil when unknown
}

// check walks the tokens of data beside the type that they will be stored in.
func check(data []byte, t reflect.Type) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var stack []level
	for {
		tok, err := dec.Token()
		if len(stack) > 0 && (err == io.EOF || err == io.ErrUnexpectedEOF) {
			return &Error{Truncated, errors.New("it ends within the object")}
		}
		if err != nil {
			return &Error{Malformed, scrub(err)}
		}
		here := t
		if n := len(stack); n > 0 {
			here = stack[n-1].next
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			if len(stack) == MaxDepth {
				return &Error{TooDeep, fmt.Errorf("more than %d levels", MaxDepth)}
			}
			if len(stack) == 0 && tok != json.Delim('{') {
				return &Error{Malformed, errors.New("no object")}
			}
			stack = append(stack, open(tok == json.Delim('{'), here))
			continue
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		default:
			if len(stack) == 0 {
				return &Error{Malformed, errors.New("no object")}
			}
			if top := &stack[len(stack)-1]; top.object && top.name {
				if err := top.enter(tok.(string)); err != nil {
					return err
				}
				continue
			}
		}
		if len(stack) == 0 {
			if _, err := dec.Token(); err != io.EOF {
				return &Error{Malformed, errors.New("bytes after the object")}
			}
			return nil
		}
		if top := &stack[len(stack)-1]; top.object {
			top.name = true
		}
	}
}

// enter takes the name of the value to come.
func (l *level) enter(name string) error {
	if l.seen[name] {
		return &Error{Duplicate, errors.New("a name twice in one object")}
	}
	l.seen[name] = true
	l.name = false
	if l.shape != nil {
		t, ok := l.shape.field(name)
		if !ok {
			return &Error{Malformed, errors.New("a name in the wrong case")}
		}
		l.next = t
	}
	return nil
}
