package signaling

import "strings"

// validID reports whether s may name a device, node, session or command: 1 to
// 64 of letters, digits, '.', '_' and '-'. Anything else could change a topic.
func validID(s string) bool { return within(s, 64, "._-") }

// validCode reports whether s may be a code, a path or another word of ours.
func validCode(s string) bool { return within(s, 32, "._-") }

// validNAT reports whether s may say what a network is: nothing, or one or two words.
// Those that this release does not know are for whoever shows them to leave out.
func validNAT(s string) bool {
	if s == "" {
		return true
	}
	if len(s) > 64 || !lower(s) {
		return false
	}
	first, second, two := strings.Cut(s, "/")
	return within(first, 64, "_") && (!two || within(second, 64, "_"))
}

// lower reports whether s has no capital letters.
func lower(s string) bool { return strings.ToLower(s) == s }

// within reports whether s is 1 to most bytes of letters, digits and the
// characters of also.
func within(s string, most int, also string) bool {
	if len(s) == 0 || len(s) > most {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c >= 'A' && c <= 'Z':
		case strings.IndexByte(also, c) >= 0:
		default:
			return false
		}
	}
	return true
}

// validToken reports whether s may be a signed object or a list of them:
// printable ASCII without spaces.
func validToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
