package strictjson

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

// shape is what encoding/json would match the names of one object against.
type shape struct{ fields map[string]reflect.Type }

// field returns the type that name is stored in, nil when name is unknown. It
// reports false for a name that encoding/json would match by folding case.
func (s *shape) field(name string) (reflect.Type, bool) {
	if t, ok := s.fields[name]; ok {
		return t, true
	}
	for f := range s.fields {
		if strings.EqualFold(f, name) {
			return nil, false
		}
	}
	return nil, true
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// shapes remembers those of types, which do not change: reflect.Type to *shape.
var shapes sync.Map

func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s := &shape{make(map[string]reflect.Type)}
	s.collect(t, nil)
	shapes.Store(t, s)
	return s
}

// open describes an object or array that will be stored in a t.
func open(object bool, t reflect.Type) level {
	l := level{object: object, name: object}
	for t != nil && t.Kind() == reflect.Pointer && !decodesItself(t) {
		t = t.Elem()
	}
	if t == nil || decodesItself(t) {
		return l
	}
	switch {
	case object && t.Kind() == reflect.Struct:
		l.shape = shapeOf(t)
	case object && t.Kind() == reflect.Map,
		!object && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array):
		l.next = t.Elem()
	}
	return l
}

// decodesItself reports whether the names below a t are the type's own affair.
func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler)
}

// collect adds the names of t's fields and of the structs embedded in it.
func (s *shape) collect(t reflect.Type, within []reflect.Type) {
	for _, w := range within {
		if w == t {
			return
		}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		switch {
		case f.Tag.Get("json") == "-":
		case f.Anonymous && name == "" && ft.Kind() == reflect.Struct:
			s.collect(ft, append(within, t))
		case !f.IsExported():
		case name != "":
			s.fields[name] = f.Type
		default:
			s.fields[f.Name] = f.Type
		}
	}
}
