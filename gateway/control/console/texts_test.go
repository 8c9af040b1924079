package console

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// In what pages, modules and Go files keys of words are used: whole, or the beginning
// of a key whose end is a word of the API.
var (
	keyInTemplate  = regexp.MustCompile(`\bt "([a-z0-9_.]+)"`)
	keyInModule    = regexp.MustCompile("\\b(?:t|known)\\(\\s*[\"`]([a-zA-Z0-9_.-]+)[\"`]")
	startInPage    = regexp.MustCompile(`\bt \(print "([a-z0-9_.]+\.)"`)
	startInModule  = regexp.MustCompile("\\b(?:t|known)\\(\\s*`([a-z0-9_.-]+[._])\\$\\{")
	unknowable     = regexp.MustCompile("\\b(?:t|known)\\(\\s*(?:`\\$\\{|[a-zA-Z_.]+[,)])")
	keyInGo        = regexp.MustCompile(`"([a-z_]+\.[a-z_.]+)"`)
	fieldInMessage = regexp.MustCompile(`\{(\w+)\}`)
)

type used struct {
	keys   map[string]string // key: file
	starts map[string]string
}

func usedKeys(t *testing.T) used {
	t.Helper()
	u := used{make(map[string]string), make(map[string]string)}
	each := func(file string, text []byte, into map[string]string, re *regexp.Regexp) {
		for _, m := range re.FindAllSubmatch(text, -1) {
			into[string(m[1])] = file
		}
	}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "node_modules" || d.Name() == "engines" || d.Name() == "test" || d.Name() == "internal" {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		switch filepath.Ext(name) {
		case ".html":
			each(name, text, u.keys, keyInTemplate)
			each(name, text, u.starts, startInPage)
		case ".js":
			each(name, text, u.keys, keyInModule)
			each(name, text, u.starts, startInModule)
			if m := unknowable.Find(text); m != nil && filepath.Base(name) != "i18n.js" {
				t.Errorf("%s: %s…: a key must begin with its page's name in plain sight", name, m)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sheets {
		u.keys[s.Name+".title"] = "routes.go"
	}
	for _, name := range []string{"signin.title", "lost.title", "forbidden.title"} {
		u.keys[name] = "pages.go"
	}
	goFiles, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range goFiles {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_test.go") {
			for _, m := range keyInGo.FindAllSubmatch(text, -1) {
				if strings.HasPrefix(string(m[1]), "signin.") {
					u.keys[string(m[1])] = name
				}
			}
		}
	}
	if len(u.keys) < 50 || len(u.starts) < 3 {
		t.Fatalf("found only %d keys and %d beginnings", len(u.keys), len(u.starts))
	}
	return u
}

// Every word that is used is there in each language, and every word that is there is
// used.
func TestWordsAreComplete(t *testing.T) {
	words, err := readTexts()
	if err != nil {
		t.Fatal(err)
	}
	u := usedKeys(t)
	for _, l := range languages {
		d := words[l.Tag]
		for key, file := range u.keys {
			if d.words[key] == "" {
				t.Errorf("%s uses %q, which %s lacks", file, key, l.Tag)
			}
		}
		for start, file := range u.starts {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(d.words)), func(key string) bool { return strings.HasPrefix(key, start) }) {
				t.Errorf("%s uses keys that begin with %q, of which %s has none", file, start, l.Tag)
			}
		}
		for key := range d.words {
			_, whole := u.keys[key]
			if !whole && !slices.ContainsFunc(slices.Collect(maps.Keys(u.starts)), func(start string) bool { return strings.HasPrefix(key, start) }) {
				t.Errorf("%s has %q, which nothing uses", l.Tag, key)
			}
		}
	}
}

// Languages say the same: the same keys, with the same fields in them, each once, in order.
func TestLanguagesAgree(t *testing.T) {
	words, err := readTexts()
	if err != nil {
		t.Fatal(err)
	}
	first := words[languages[0].Tag]
	for _, l := range languages {
		d := words[l.Tag]
		for key, text := range first.words {
			other, ok := d.words[key]
			if !ok || strings.TrimSpace(other) == "" {
				t.Errorf("%s lacks %q", l.Tag, key)
				continue
			}
			if got, want := fields(other), fields(text); !slices.Equal(got, want) {
				t.Errorf("%s: %q has the fields %v, want %v", l.Tag, key, got, want)
			}
		}
		for key := range d.words {
			if _, ok := first.words[key]; !ok {
				t.Errorf("%s has %q, which %s lacks", l.Tag, key, languages[0].Tag)
			}
		}
		if keys := keysInOrder(t, d.json); !slices.IsSorted(keys) || len(slices.Compact(keys)) != len(d.words) {
			t.Errorf("the keys of %s are not in order, or not each once", l.Tag)
		}
	}
}

func fields(text string) []string {
	var list []string
	for _, m := range fieldInMessage.FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func keysInOrder(t *testing.T, text []byte) (keys []string) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(string(text)))
	for i := 0; ; i++ {
		token, err := dec.Token()
		if err != nil {
			return keys
		}
		if s, ok := token.(string); ok && i%2 == 1 {
			keys = append(keys, s)
		}
	}
}
