//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
)

// The lines between which docs/NAT.md is written by TestMatrix.
const (
	docBegin = "<!-- written by make matrix -->\n"
	docEnd   = "<!-- end -->\n"
)

func docPath() string { return filepath.Join("..", "..", "docs", "NAT.md") }

// docParts is the document before, between and after those lines.
func docParts(t *testing.T) (before, table, after string) {
	t.Helper()
	b, err := os.ReadFile(docPath())
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), docBegin)
	table, after, ok2 := strings.Cut(rest, docEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", docPath(), docBegin, docEnd)
	}
	return before, table, after
}

// writeMatrix puts what was measured into the document.
func writeMatrix(t *testing.T, cells map[pair]cell) {
	before, _, after := docParts(t)
	words := make(map[pair]paths)
	for p := range cells {
		words[p] = p.want() // TestMatrix has seen that they are
	}
	text := before + docBegin + matrixTable(words) + "\n" + matrixTimes(cells) + docEnd + after
	if err := os.WriteFile(docPath(), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// matrixTable has a row for each kind of device, end to end, and another table for
// both sides of a node.
func matrixTable(words map[pair]paths) string {
	var b strings.Builder
	head := func(corner string) {
		b.WriteString("| " + corner + " |")
		for _, k := range netlab.Matrix() {
			fmt.Fprintf(&b, " %s |", k)
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(netlab.Matrix())) + "\n")
	}
	row := func(name string, word func(netlab.Kind) string) {
		b.WriteString("| " + name + " |")
		for _, k := range netlab.Matrix() {
			text := word(k)
			if text == "direct" {
				text = "**direct**"
			}
			b.WriteString(" " + text + " |")
		}
		b.WriteString("\n")
	}
	head(`device \ operator`)
	for _, d := range netlab.Matrix() {
		row(string(d), func(o netlab.Kind) string { return words[pair{device: d, operator: o}].device })
	}
	b.WriteString("\n")
	head("through a node")
	row("the device's path", func(d netlab.Kind) string { return words[pair{d, netlab.Open, true}].device })
	row("the operator's path", func(o netlab.Kind) string { return words[pair{netlab.Open, o, true}].operator })
	row("both at such a network", func(k netlab.Kind) string { return words[pair{k, k, true}].String() })
	return b.String()
}

// String is one word where both ends have the same path.
func (p paths) String() string {
	if p.device == p.operator {
		return p.device
	}
	return p.device + " and " + p.operator
}

// matrixTimes says how long the pairs took.
func matrixTimes(cells map[pair]cell) string {
	var relay, first, direct, node []time.Duration
	for p, c := range cells {
		switch {
		case p.node:
			node = append(node, c.First)
			continue
		case c.Direct != 0:
			direct = append(direct, c.Direct)
		default:
			relay = append(relay, c.First)
		}
		first = append(first, c.First)
	}
	return fmt.Sprintf(`| since the wake | pairs | median | most |
|---|---|---|---|
| first bytes, end to end | %s |
| first bytes of those that stay on the relay | %s |
| bytes while both ends' path is direct | %s |
| first bytes through a node | %s |
`, times(first), times(relay), times(direct), times(node))
}

func times(all []time.Duration) string {
	if len(all) == 0 {
		return "0 | - | -"
	}
	slices.Sort(all)
	return fmt.Sprintf("%d | %d ms | %d ms", len(all), all[len(all)/2].Milliseconds(), all[len(all)-1].Milliseconds())
}

// The document says what is expected: whoever changes one measures again.
func TestMatrixDocument(t *testing.T) {
	_, table, _ := docParts(t)
	want := make(map[pair]paths)
	for _, p := range append(allPairs(), nodePairs()...) {
		want[p] = p.want()
	}
	if !strings.HasPrefix(table, matrixTable(want)) {
		t.Errorf("docs/NAT.md is not what is expected; run make matrix. Expected:\n%s\nIt has:\n%s", matrixTable(want), table)
	}
}
