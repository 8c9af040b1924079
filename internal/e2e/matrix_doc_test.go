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
	text := before + docBegin + matrixTable(cells) + "\n" + matrixTimes(cells) + docEnd + after
	if err := os.WriteFile(docPath(), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// matrixTable has a row for each kind of device.
func matrixTable(cells map[pair]cell) string {
	var b strings.Builder
	b.WriteString("| device \\ operator |")
	for _, k := range netlab.Matrix() {
		fmt.Fprintf(&b, " %s |", k)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(netlab.Matrix())) + "\n")
	for _, d := range netlab.Matrix() {
		fmt.Fprintf(&b, "| %s |", d)
		for _, o := range netlab.Matrix() {
			fmt.Fprintf(&b, " %s |", cells[pair{d, o}])
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (c cell) String() string {
	if c.Direct == 0 {
		return "relay"
	}
	return "**direct**"
}

// matrixTimes says how long the pairs took.
func matrixTimes(cells map[pair]cell) string {
	var relay, direct []time.Duration
	for _, c := range cells {
		relay = append(relay, c.Relay)
		if c.Direct != 0 {
			direct = append(direct, c.Direct)
		}
	}
	return fmt.Sprintf("%d pairs, %d direct. A round trip by the relay after %s; by the direct path after %s.\n",
		len(cells), len(direct), times(relay), times(direct))
}

func times(all []time.Duration) string {
	if len(all) == 0 {
		return "-"
	}
	slices.Sort(all)
	return fmt.Sprintf("%d ms (median; most %d ms)", all[len(all)/2].Milliseconds(), all[len(all)-1].Milliseconds())
}

// The document says what is expected: whoever changes one measures again.
func TestMatrixDocument(t *testing.T) {
	_, table, _ := docParts(t)
	want := make(map[pair]cell)
	for _, p := range allPairs() {
		if direct(p.device, p.operator) {
			want[p] = cell{Direct: 1}
		} else {
			want[p] = cell{}
		}
	}
	if !strings.HasPrefix(table, matrixTable(want)) {
		t.Errorf("docs/NAT.md is not what is expected; run make matrix. Expected:\n%s\nIt has:\n%s", matrixTable(want), table)
	}
}
