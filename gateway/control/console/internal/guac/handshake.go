package guac

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

const (
	speaks  = "VERSION_1_5_0" // the latest that both guacd and browsers' libraries know
	maxName = 64              // bytes of a connection's id, which is a UUID and a sign
)

// A Screen is what the browser can show.
type Screen struct {
	Width, Height, DPI int
	Images             []string // MIME types; none: PNG and JPEG
	Timezone           string   // such as Asia/Shanghai; empty: not said
	Name               string   // who looks
}

// Join asks guacd for a desktop and returns the name of the connection. Each argument
// goes where guacd's own list has its name, for that differs between releases; one
// that it does not know fails, unless it is empty, and so nothing that protects is
// ever left out silently.
func Join(w io.Writer, r *Reader, protocol string, arguments map[string]string, s Screen) (string, error) {
	if err := write(w, []string{"select", protocol}); err != nil {
		return "", err
	}
	names, err := expect(r, "args")
	if err != nil {
		return "", err
	}
	values, err := place(names, arguments)
	if err != nil {
		return "", err
	}
	images := s.Images
	if len(images) == 0 {
		images = []string{"image/png", "image/jpeg"}
	}
	hello := [][]string{
		{"size", strconv.Itoa(s.Width), strconv.Itoa(s.Height), strconv.Itoa(s.DPI)},
		{"audio"}, {"video"},
		append([]string{"image"}, images...),
	}
	if s.Timezone != "" {
		hello = append(hello, []string{"timezone", s.Timezone})
	}
	hello = append(hello, []string{"name", s.Name}, append([]string{"connect"}, values...))
	if err := write(w, hello...); err != nil {
		return "", err
	}
	ready, err := expect(r, "ready")
	if err != nil {
		return "", err
	}
	if len(ready) != 1 || len(ready[0]) == 0 || len(ready[0]) > maxName {
		return "", errors.New("guac: guacd is ready without a name")
	}
	return ready[0], nil
}

// place orders the arguments as guacd names them; its first name is its version.
func place(names []string, arguments map[string]string) ([]string, error) {
	if len(names) == 0 || !strings.HasPrefix(names[0], "VERSION_") {
		return nil, errors.New("guac: guacd does not say its version")
	}
	for name, v := range arguments {
		if v != "" && !slices.Contains(names[1:], name) {
			return nil, fmt.Errorf("guac: guacd does not know the argument %q", name)
		}
	}
	values := []string{speaks}
	for _, name := range names[1:] {
		values = append(values, arguments[name])
	}
	return values, nil
}

func write(w io.Writer, instructions ...[]string) error {
	var b []byte
	for _, elements := range instructions {
		b = Append(b, elements...)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("guac: write to guacd: %w", err)
	}
	return nil
}

// An Error is guacd's own word for why there is no desktop.
type Error struct {
	Message string
	Status  int // of the protocol, such as 519: the remote desktop was not found
}

func (e *Error) Error() string { return fmt.Sprintf("guacd: %s (%d)", e.Message, e.Status) }

// expect waits for an instruction with the given opcode and returns its other elements.
func expect(r *Reader, opcode string) ([]string, error) {
	for {
		elements, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("guac: read from guacd: %w", err)
		}
		rest := texts(elements[1:])
		switch string(elements[0]) {
		case opcode:
			return rest, nil
		case "nop", "log":
		case "error":
			return nil, failure(rest)
		default:
			return nil, fmt.Errorf("guac: guacd said %q where %q was expected", elements[0], opcode)
		}
	}
}

func texts(elements [][]byte) []string {
	out := make([]string, len(elements))
	for i, e := range elements {
		out[i] = string(e)
	}
	return out
}

func failure(rest []string) error {
	e := &Error{Status: 512}
	if len(rest) > 0 {
		e.Message = rest[0]
	}
	if len(rest) > 1 {
		if n, err := strconv.Atoi(rest[1]); err == nil {
			e.Status = n
		}
	}
	return e
}

// ErrorIn returns the error among the whole instructions of a frame of guacd's, if one
// is.
func ErrorIn(frame []byte) error {
	for len(frame) > 0 {
		elements, n, err := Next(frame)
		if err != nil || n == 0 {
			return err
		}
		if string(elements[0]) == "error" {
			return failure(texts(elements[1:]))
		}
		frame = frame[n:]
	}
	return nil
}
