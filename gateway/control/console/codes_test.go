package console

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/tunnel/operator"
	"github.com/boothwire/boothwire/tunnel/preflight"
)

// Where stable codes that an engineer may see are written down, and how.
var codeSources = []struct {
	files string
	code  *regexp.Regexp
	least int // how many there are at least: a pattern that finds none proves nothing
}{
	{"../../../keys/errors.go", regexp.MustCompile(`Reason\w+ += "(\w+)"`), 25},
	{"../internal/machine/*.go", regexp.MustCompile(`Code\w+ += "(\w+)"`), 8},
	{"../codes.go", regexp.MustCompile(`"([a-z_]+)"`), 20},
	{"../*.go", regexp.MustCompile(`fail\(http\.\w+, "(\w+)"`), 10},
	{"../*.go", regexp.MustCompile(`\bcode[A-Z]\w* += "(\w+)"`), 2},
	{"../internal/auth/*.go", regexp.MustCompile(`Code: "(\w+)"`), 3},
	{"../../../tunnel/agent/errors.go", regexp.MustCompile(`Code\(\) string +\{ return "(\w+)" \}`), 3},
	{"internal/held/*.go", regexp.MustCompile(`client\.Refuse\(http\.\w+, "(\w+)"`), 4},
	{"internal/login/*.go", regexp.MustCompile(`client\.Refuse\(http\.\w+, "(\w+)"`), 2},
	{"internal/held/session.go", regexp.MustCompile(`why\w+ += "(\w+)"`), 4},
}

// Every code that a page may meet has words in both languages; another test sees that
// both have the same.
func TestCodesHaveWords(t *testing.T) {
	words, err := readTexts()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{operator.CodeRemoved: "tunnel/operator"}
	for _, s := range codeSources {
		files, err := filepath.Glob(s.files)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files, %v", s.files, err)
		}
		found := 0
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, m := range s.code.FindAllSubmatch(text, -1) {
				all[string(m[1])] = name
				found++
			}
		}
		if found < s.least {
			t.Errorf("%s has %d codes by %s, fewer than %d", s.files, found, s.code, s.least)
		}
	}
	// Of imports, and of audit rows for what was too much to write down.
	for _, code := range []string{"bad_import", "bad_id", "bad_line", "others"} {
		delete(all, code)
	}
	for code, name := range all {
		if words[languages[0].Tag].words["problem."+code] == "" {
			t.Errorf("%s: %q has no words", name, code)
		}
	}
}

// What a check found has the same words as boothctl has for it.
func TestChecksHaveWords(t *testing.T) {
	words, err := readTexts()
	if err != nil {
		t.Fatal(err)
	}
	english := words["en"].words
	for _, key := range preflight.Codes() {
		check, code, own := strings.Cut(key, ".")
		what := "preflight.what." + key
		if !own {
			check, code, what = "", key, "preflight.why."+key
		}
		if check == "service" {
			check = "ssh"
		}
		says, todo := preflight.Explain(check, code)
		if english[what] != says || english["preflight.todo."+key] != todo {
			t.Errorf("%s: %q %q, boothctl says %q %q", key, english[what], english["preflight.todo."+key], says, todo)
		}
	}
}
