package structure

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/boothwire/boothwire"

// arrows says what of ours each package may import, beyond packages below its
// own internal folder. The longest key that is the package or a folder above it
// decides. "internal" stands for the module's own internal packages.
var arrows = map[string][]string{
	"keys":                    {"internal/strictjson"},
	"nat":                     {"internal/deadline"},
	"signaling":               {"internal/strictjson"},
	"signaling/signalingtest": {"signaling", "internal/strictjson"},
	"signaling/mqtt":          {"signaling", "keys", "internal"},
	"signaling/https":         {"signaling", "keys", "internal"},
	"tunnel":                  {"keys", "internal"},
	"tunnel/internal/find":    {"keys", "nat"}, // of agent and operator
	"tunnel/agent":            {"keys", "nat", "relay", "signaling", "tunnel", "tunnel/preflight", "internal"},
	"tunnel/operator":         {"keys", "nat", "relay", "signaling", "tunnel", "gateway/control/client", "internal"},
	"tunnel/preflight":        {"keys", "internal"},
	"relay":                   {"keys", "internal"},
	"relay/server":            {"keys", "relay", "internal"},
	"gateway":                 {"keys", "internal"},
	"gateway/control/client":  {"keys", "signaling"},
	"gateway/control":         {"keys", "keys/kms", "signaling", "gateway/control/client", "internal"},
	"gateway/control/console": {"keys", "relay", "signaling", "tunnel", "tunnel/operator", "gateway/control", "gateway/control/client", "internal"},
	// What its tests stand beside.
	"gateway/control/console/internal/consoletest": {"*"},

	"internal": {"internal"},
	"cmd":      {"*"},
	"examples": {"*"},
}

// A source is one non-test file of the module.
type source struct {
	path    string // from the module's root, with slashes
	pkg     string
	file    *ast.File
	imports []string // of ours, without the module's name
	lines   int
}

func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		s := source{path: filepath.ToSlash(rel), file: f, lines: strings.Count(string(text), "\n")}
		s.pkg = filepath.ToSlash(filepath.Dir(rel))
		for _, spec := range f.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			if ours, ok := strings.CutPrefix(p, module+"/"); ok {
				s.imports = append(s.imports, ours)
			}
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("read only %d files: is this the module's root?", len(all))
	}
	return all
}

// room is the key of arrows that decides for a package.
func room(pkg string) (string, bool) {
	for p := pkg; p != "."; p = parent(p) {
		if _, ok := arrows[p]; ok {
			return p, true
		}
	}
	return "", false
}

func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return "."
}

// allowed reports whether pkg may import the package imp.
func allowed(pkg, imp string) bool {
	key, ok := room(pkg)
	if !ok {
		return false
	}
	if inner, _, ok := strings.Cut(imp, "/internal/"); ok && (pkg == inner || strings.HasPrefix(pkg, inner+"/")) {
		return brings(pkg, imp) // the compiler keeps these in their family
	}
	return slices.ContainsFunc(arrows[key], func(a string) bool {
		return a == "*" || a == imp || a == "internal" && strings.HasPrefix(imp, "internal/")
	})
}

// brings reports whether all that imp may import pkg may import too: a package that
// two of a family share must not be a way around for a third.
func brings(pkg, imp string) bool {
	mine, _ := room(pkg)
	its, ok := room(imp)
	return ok && !slices.ContainsFunc(arrows[its], func(a string) bool {
		return !slices.Contains(arrows[mine], a) && !slices.Contains(arrows[mine], "*") &&
			!(strings.HasPrefix(a, "internal/") && slices.Contains(arrows[mine], "internal"))
	})
}

func TestImportArrows(t *testing.T) {
	for _, s := range sources(t) {
		if _, ok := room(s.pkg); !ok {
			t.Errorf("%s: package %s has no place in the arrows", s.path, s.pkg)
		}
		for _, imp := range s.imports {
			if !allowed(s.pkg, imp) {
				t.Errorf("%s: %s may not import %s", s.path, s.pkg, imp)
			}
		}
	}
}

func TestArrowsThatMustFail(t *testing.T) {
	for _, a := range [][2]string{
		{"keys", "signaling"}, {"signaling", "keys"}, {"tunnel", "signaling"}, {"tunnel", "relay"},
		{"gateway", "gateway/control"}, {"gateway/control", "tunnel"}, {"internal/bind", "keys"},
		{"signaling/mqtt", "tunnel"}, {"gateway/control", "gateway/control/console"},
		{"tunnel/agent", "signaling/mqtt"}, {"tunnel", "tunnel/internal/find"}, {"gateway", "tunnel/internal/netstack"}, {"unknown", "keys"},
	} {
		if allowed(a[0], a[1]) {
			t.Errorf("%s -> %s is allowed", a[0], a[1])
		}
	}
}

func TestPackagesAreDocumented(t *testing.T) {
	doc := make(map[string]bool)
	for _, s := range sources(t) {
		doc[s.pkg] = doc[s.pkg] || s.file.Doc != nil
	}
	for pkg, ok := range doc {
		if !ok {
			t.Errorf("package %s has no doc comment", pkg)
		}
	}
}

func TestProgramsAreThin(t *testing.T) {
	for _, s := range sources(t) {
		if regexp.MustCompile(`^(cmd|examples)/[^/]+/main\.go$`).MatchString(s.path) && s.lines > 100 {
			t.Errorf("%s has %d lines: what more than 100 a program needs lives in its internal folder", s.path, s.lines)
		}
	}
}

func TestModuleHasNoReplace(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`(?m)^replace\b`).Match(text) {
		t.Error("go.mod has a replace: it does not reach whoever imports the module")
	}
}
