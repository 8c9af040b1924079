package files

import (
	"mime"
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPaths(t *testing.T) {
	for p, want := range map[string]string{
		"/": "/", "/a": "/a", "/a/": "/a", "/a b/ü": "/a b/ü", "/a\\b": "/a\\b", "/a\xff": "/a\xff",
		"/C:": "/C:/", "/C:/": "/C:/", "/c:/Users/李": "/c:/Users/李", "/CC:/x": "/CC:/x",
		"": "", "a": "", ".": "", "/.": "", "/..": "", "/a/../b": "", "//a": "", "/a//": "", "/a\x00": "",
		"C:/x": "", `C:\x`: "", `/C:/a\..\b`: "", `/C:\x`: `/C:\x`, `\\server\share`: "", "//server/share": "",
	} {
		if got, err := parsePath(p); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v, want %q", p, got, err, want)
		}
	}
	for p, ok := range map[string]bool{
		"/a": true, "/a:b": true, "/con": true, "/": false, "/C:": false, "/C:/": false, "/C:/a": true, "/C:/console": true,
		"/C:/a:stream": false, "/C:/con": false, "/C:/CON.txt": false, "/C:/nul .x": false, "/C:/COM1": false, "/C:/lpt¹.log": false, "/C:/com": true,
		"/C:/a.": false, "/C:/a ": false, "/C:/a?": false, "/C:/a\x1f": false, "/a/" + strings.Repeat("x", maxName+1): false,
	} {
		if _, err := parseNew(p); (err == nil) != ok {
			t.Errorf("new %q: %v", p, err)
		}
	}
}

func TestDisposition(t *testing.T) {
	for name, want := range map[string]string{
		"a.txt":                `attachment; filename="a.txt"; filename*=UTF-8''a.txt`,
		"a b%41.txt":           `attachment; filename="a b_41.txt"; filename*=UTF-8''a%20b%2541.txt`,
		"x\r\nSet-Cookie: a=b": `attachment; filename="x__Set-Cookie_ a=b"; filename*=UTF-8''x__Set-Cookie_%20a%3Db`,
		`"; filename="x.exe`:   `attachment; filename="_; filename=_x.exe"; filename*=UTF-8''_%3B%20filename%3D_x.exe`,
		"gpj.\u202Eexe":        `attachment; filename="gpj._exe"; filename*=UTF-8''gpj._exe`,
		"...":                  `attachment; filename="file"; filename*=UTF-8''file`,
		"\xff":                 `attachment; filename="_"; filename*=UTF-8''_`,
	} {
		if got := disposition(name); got != want {
			t.Errorf("%q:\n\t%s, want\n\t%s", name, got, want)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, p := range []string{"/", "/C:/x", "/a/../b", "//x", "/a\x00", `/C:/a\b`, "/C:/nul"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		got, err := parsePath(p)
		if err != nil {
			return
		}
		if got[0] != '/' || strings.IndexByte(got, 0) >= 0 || len(got) > maxPath+1 {
			t.Fatalf("%q", got)
		}
		for _, part := range strings.Split(got, "/") {
			if part == ".." || part == "." {
				t.Fatalf("%q", got)
			}
		}
		if again, err := parsePath(got); err != nil || again != got {
			t.Fatalf("%q is %q the second time: %v", got, again, err)
		}
		if made, err := parseNew(p); err == nil && (made != got || path.Base(made) == "/") {
			t.Fatalf("%q is %q", made, got)
		}
	})
}

func FuzzDisposition(f *testing.F) {
	f.Add("a.txt")
	f.Add("\"\r\n\u202e日志\xff")
	f.Fuzz(func(t *testing.T, name string) {
		head := disposition(name)
		for _, c := range []byte(head) {
			if c < ' ' || c > '~' {
				t.Fatalf("%q", head)
			}
		}
		kind, params, err := mime.ParseMediaType(head)
		if err != nil || kind != "attachment" {
			t.Fatalf("%q: %v", head, err)
		}
		if kept := params["filename"]; kept == "" || !utf8.ValidString(kept) || strings.ContainsAny(kept, "/\\\x00\r\n\"") {
			t.Fatalf("%q is kept as %q", name, kept)
		}
	})
}
