package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// level is one open object or array on the way down.
type level struct {
	object bool
	name   bool // an object that awaits a name
	seen   names
	shape  *shape       // of the object itself, if its names are known
	next   reflect.Type // of the value to come, nil when unknown
}

// walk looks at the names and the depth of data, which is valid JSON, beside the type
// that it will be stored in.
func walk(data []byte, t reflect.Type) error {
	var room [MaxDepth]level
	stack := room[:0]
	for i := 0; i < len(data); i++ {
		c := data[i]
		if len(stack) == 0 {
			switch c {
			case ' ', '\t', '\n', '\r':
				continue
			case '{', '}':
			default:
				return &Error{Malformed, errors.New("no object")}
			}
		}
		switch c {
		case '{', '[':
			if len(stack) == MaxDepth {
				return &Error{TooDeep, fmt.Errorf("more than %d levels", MaxDepth)}
			}
			if n := len(stack); n > 0 {
				t = stack[n-1].next
			}
			stack = append(stack, open(c == '{', t))
		case '}', ']':
			stack = stack[:len(stack)-1]
		case ',':
			stack[len(stack)-1].name = stack[len(stack)-1].object
		case '"':
			end := i + length(data[i:])
			if top := &stack[len(stack)-1]; top.name {
				if err := top.enter(data[i:end]); err != nil {
					return err
				}
			}
			i = end - 1
		}
	}
	return nil
}

// length is how many bytes the string at the beginning of data has, with its quotes.
func length(data []byte) int {
	for i := 1; ; i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// enter takes the name of the value to come, as it is written.
func (l *level) enter(written []byte) error {
	name := string(written[1 : len(written)-1])
	if slices.Contains(written, '\\') {
		if err := json.Unmarshal(written, &name); err != nil {
			return &Error{Malformed, scrub(err)}
		}
	}
	if !l.seen.add(name) {
		return &Error{Duplicate, errors.New("a name twice in one object")}
	}
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

// names are those of one object so far.
type names struct {
	few  []string
	many map[string]bool // of all, once there are more than few may hold
}

// fewNames is up to where looking at each is faster than a map.
const fewNames = 16

// add reports whether name is new.
func (n *names) add(name string) bool {
	switch {
	case n.many != nil:
		if n.many[name] {
			return false
		}
		n.many[name] = true
		return true
	case slices.Contains(n.few, name):
		return false
	case len(n.few) < fewNames:
		n.few = append(n.few, name)
		return true
	}
	n.many = make(map[string]bool, 2*fewNames)
	for _, f := range n.few {
		n.many[f] = true
	}
	n.many[name] = true
	return true
}
