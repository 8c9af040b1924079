package guac

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

const (
	MaxInstruction = 64 << 10 // bytes; guacd's own bound is 8,192 characters
	MaxElements    = 256      // guacd names about a hundred arguments in one
	maxDigits      = 5        // of a length
)

// ErrInstruction is what is no instruction, or a longer one than anybody sends.
var ErrInstruction = errors.New("guac: not an instruction")

// Next takes the first instruction of b apart: its elements, the opcode first, and how
// many bytes it has; n is 0 while it is not whole. The elements are within b.
func Next(b []byte) (elements [][]byte, n int, err error) {
	for rest := b; ; {
		value, after, end, err := element(rest)
		if err != nil || len(b)-len(after) > MaxInstruction || len(elements) == MaxElements {
			return nil, 0, ErrInstruction
		}
		if end == 0 {
			if len(b) >= MaxInstruction {
				return nil, 0, ErrInstruction
			}
			return nil, 0, nil
		}
		elements, rest = append(elements, value), after
		if end == ';' {
			return elements, len(b) - len(rest), nil
		}
	}
}

// element takes the first element of b: its value, what follows its end, and that end,
// a comma or a semicolon; 0 while the element is not whole.
func element(b []byte) (value, rest []byte, end byte, err error) {
	length, digits := 0, 0
	for ; digits < len(b) && b[digits] >= '0' && b[digits] <= '9'; digits++ {
		if digits == maxDigits || digits == 1 && length == 0 { // one length is written in one way
			return nil, nil, 0, ErrInstruction
		}
		length = length*10 + int(b[digits]-'0')
	}
	if digits == len(b) {
		return nil, b, 0, nil
	}
	if digits == 0 || b[digits] != '.' {
		return nil, nil, 0, ErrInstruction
	}
	b = b[digits+1:]
	if len(b) <= length { // a character has a byte at least
		return nil, b, 0, nil
	}
	size := 0
	for range length {
		if !utf8.FullRune(b[size:]) {
			return nil, b, 0, nil
		}
		r, n := utf8.DecodeRune(b[size:])
		if r == utf8.RuneError && n == 1 {
			return nil, nil, 0, ErrInstruction
		}
		size += n
	}
	if size == len(b) {
		return nil, b, 0, nil
	}
	if end = b[size]; end != ',' && end != ';' {
		return nil, nil, 0, ErrInstruction
	}
	return b[:size], b[size+1:], end, nil
}

// Append appends the instruction of the given elements, the opcode first.
func Append(dst []byte, elements ...string) []byte {
	for i, e := range elements {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(utf8.RuneCountInString(e)), 10)
		dst = append(dst, '.')
		dst = append(dst, e...)
	}
	return append(dst, ';')
}

// Plain returns b with each character beyond U+FFFF replaced by U+FFFD, units times,
// and b itself if there is none: 1 for what guacd counted, 2 for what a browser did.
func Plain(b []byte, units int) []byte {
	var out []byte
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r > 0xffff && out == nil {
			out = append(make([]byte, 0, len(b)+units*3), b[:i]...)
		}
		if out != nil {
			if r > 0xffff {
				for range units {
					out = utf8.AppendRune(out, utf8.RuneError)
				}
			} else {
				out = append(out, b[i:i+n]...)
			}
		}
		i += n
	}
	if out == nil {
		return b
	}
	return out
}

// fromBrowser are the opcodes that a browser may send once it is joined. What guacd
// is to connect to, it is never asked.
var fromBrowser = map[string]bool{
	"mouse": true, "touch": true, "key": true, "sync": true, "ack": true, "size": true, "clipboard": true, "blob": true, "end": true,
	"file": true, "pipe": true, "put": true, "get": true, "nop": true, "disconnect": true,
}

// MaySend reports whether a browser may send an instruction with this opcode.
func MaySend(opcode []byte) bool { return fromBrowser[string(opcode)] }

// Sift takes the instructions of one frame of a browser's apart: what goes on to guacd,
// and what the tunnel itself answers. A frame with anything else, or with a cut
// instruction, is refused.
func Sift(frame []byte) (pass, reply []byte, err error) {
	for rest := frame; len(rest) > 0; {
		elements, n, err := Next(rest)
		switch {
		case err != nil:
			return nil, nil, err
		case n == 0:
			return nil, nil, ErrInstruction
		case len(elements[0]) == 0: // for the tunnel alone
			if len(elements) == 3 && string(elements[1]) == "ping" {
				reply = append(reply, rest[:n]...)
			}
		case MaySend(elements[0]):
			pass = append(pass, rest[:n]...)
		default:
			return nil, nil, fmt.Errorf("%w that a browser may send: %.20q", ErrInstruction, elements[0])
		}
		rest = rest[n:]
	}
	return pass, reply, nil
}
