package files

import (
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what SFTP servers take.
const (
	maxPath = 4096 // bytes
	maxName = 255  // bytes
)

// drive is how OpenSSH for Windows writes a path of a drive.
var drive = regexp.MustCompile(`^/[A-Za-z]:(/|$)`)

// isDrive reports whether p is a path of Windows.
func isDrive(p string) bool { return drive.MatchString(p) }

// parsePath takes an absolute path in its shortest form, in bytes that need not be
// UTF-8. The root of a drive is written with its slash.
func parsePath(p string) (string, error) {
	if len(p) > 1 && p[len(p)-1] == '/' {
		p = p[:len(p)-1]
	}
	if p == "" || len(p) > maxPath || p[0] != '/' || strings.IndexByte(p, 0) >= 0 || path.Clean(p) != p {
		return "", errPath
	}
	if isDrive(p) && strings.IndexByte(p, '\\') >= 0 {
		return "", errPath // there another way to write a slash
	}
	if len(p) == len("/C:") && isDrive(p) {
		p += "/"
	}
	return p, nil
}

// parseNew takes the path of something that is to be made: not a root, and on Windows
// not what means something else there (a device, a stream of another file, a name that
// loses its end).
func parseNew(p string) (string, error) {
	p, err := parsePath(p)
	if err != nil {
		return "", err
	}
	name := path.Base(p)
	if p == "/" || len(name) > maxName || isDrive(p) && (len(p) == len("/C:/") || !windowsName(name)) {
		return "", errName
	}
	return p, nil
}

// reserved are names of devices in every folder of Windows.
var reserved = regexp.MustCompile(`(?i)^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])( *\.|$)`)

func windowsName(name string) bool {
	return !strings.ContainsAny(name, `<>:"|?*\`) && strings.IndexFunc(name, unicode.IsControl) < 0 &&
		!strings.HasSuffix(name, ".") && !strings.HasSuffix(name, " ") && !reserved.MatchString(name)
}

// goodName reports whether a server's name of an entry is one that a path can have.
func goodName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxPath && !strings.ContainsAny(name, "/\x00")
}

// show is a name as text: what is not UTF-8 in it is replaced, for people only.
func show(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }

// disposition is the header with which a browser keeps a file under its name, whatever
// the name has in it: RFC 6266, with the ASCII form for those that know no other.
func disposition(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, show(name))
	name = strings.Trim(name, ". ")
	if name == "" {
		name = "file"
	}
	ascii := strings.Map(func(r rune) rune {
		if r > '~' || r == '%' {
			return '_'
		}
		return r
	}, name)
	return `attachment; filename="` + ascii + `"; filename*=UTF-8''` + extended(name)
}

// extended is a value of RFC 8187: every byte but letters, digits and few others as %XX.
func extended(text string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(text) {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_':
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
