package scenario

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestScriptsAreGood(t *testing.T) {
	if len(Names()) == 0 {
		t.Fatal("there are none")
	}
	for _, name := range Names() {
		s, err := Load(name, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Name != name || s.Title == "" {
			t.Errorf("%s: %+v", name, s)
		}
		if s, err = Load(name, &Change{devices: 20, within: -1, hold: time.Second}); err != nil || s.Devices != 20 || s.Workers != 1 {
			t.Errorf("%s with 20 devices: %+v, %v", name, s, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	s, err := Parse([]byte("devices = 10_000\n[[step]]\ndo = 'wake'\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Nodes != 1 || s.Workers != 4 || s.Callers != 256 || time.Duration(s.Connect) != 50*time.Second || time.Duration(s.Steps[0].Patience) != 90*time.Second {
		t.Errorf("got %+v", s)
	}
}

// The format is a script itself, has every field, and stands in the documentation.
func TestFormat(t *testing.T) {
	s, err := Parse([]byte(Format), nil)
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[string]bool)
	for _, p := range s.Steps {
		kinds[p.Do] = true
	}
	if len(kinds) != 7 {
		t.Errorf("it shows the steps %v", kinds)
	}
	for _, of := range []reflect.Type{reflect.TypeFor[Scenario](), reflect.TypeFor[Bars](), reflect.TypeFor[Step]()} {
		for field := range of.Fields() {
			name := field.Tag.Get("toml")
			if name != "-" && !regexp.MustCompile(`(?m)^(`+name+` += |\[+`+name+`\])`).MatchString(Format) {
				t.Errorf("it has no %s", name)
			}
		}
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "BENCHMARKS.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```toml\n"+Format+"```\n") {
		t.Error("docs/BENCHMARKS.md shows another one than format.toml")
	}
}

func TestRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"[[step]]\ndo = 'wake'":                                       "devices",
		"devices = 5":                                                 "step",
		"devices = 5\n[[step]]\ndo = 'dance'":                         "step[0].do",
		"devices = 5\n[[step]]\ndo = 'wake'\ndevices = 6":             "step[0].devices",
		"devices = 5\n[[step]]\ndo = 'wake'\n[[step]]\ndo = 'hold'":   "step[1].for",
		"devices = 5\n[[step]]\ndo = 'kill'\nnode = 2":                "step[0].node",
		"devices = 5\n[[step]]\ndo = 'climb'\nfor='1s'\nfrom=5\nto=4": "step",
		"devices = 5\n[[step]]\ndo = 'wake'\nwithin = '-1s'":          "negative",
		"devices = 5\nkiosks = 3\n[[step]]\ndo = 'wake'":              "kiosks",
		"devices = 5\nworkers = 6\n[[step]]\ndo = 'wake'":             "workers",
	} {
		if _, err := Parse([]byte(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", text, err, want)
		}
	}
	if _, err := Load("nonsense", nil); err == nil || !strings.Contains(err.Error(), "storm") {
		t.Errorf("an unknown script: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range Names() {
		text, err := scripts.ReadFile("scripts/" + name + ".toml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := Parse(text, nil); err == nil && (s.Devices < 1 || len(s.Steps) == 0 || s.Workers < 1) {
			t.Errorf("%q was taken: %+v", text, s)
		}
	})
}
