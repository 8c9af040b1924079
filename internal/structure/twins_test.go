package structure

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A document in Chinese has the shape of its English twin: the same levels of headings, blocks
// of code as long, the same tables.
func TestTwinsAgree(t *testing.T) {
	for _, twin := range []string{"README.zh-CN.md", "docs/OPERATING.zh-CN.md", "docs/CONSOLE.zh-CN.md"} {
		got := shapeOf(t, twin)
		want := shapeOf(t, strings.Replace(twin, ".zh-CN", "", 1))
		for name, list := range want {
			for i := range max(len(list), len(got[name])) {
				if i >= len(list) || i >= len(got[name]) || list[i] != got[name][i] {
					t.Errorf("%s: %s %d: %q, in English %q", twin, name, i+1, at(got[name], i), at(list, i))
					break
				}
			}
		}
	}
}

func at(list []string, i int) string {
	return strings.Join(list[min(i, len(list)):min(i+1, len(list))], "")
}

// shapeOf is what of a document does not depend on its language.
func shapeOf(t *testing.T, file string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	shape := make(map[string][]string)
	add := func(name, text string) { shape[name] = append(shape[name], text) }
	inCode := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			inCode = !inCode
			add("code", line)
		case inCode:
			add("code", "a line") // its words may be in the other language
		case strings.HasPrefix(line, "#"):
			add("headings", line[:strings.IndexByte(line, ' ')])
		case strings.HasPrefix(line, "|"):
			add("rows", strings.Repeat("|", strings.Count(line, "|")))
		}
	}
	if len(shape["headings"]) < 3 || !slices.Contains(shape["code"], "```") {
		t.Errorf("%s: read wrongly: %v", file, shape)
	}
	return shape
}
