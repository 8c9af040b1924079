package api

import (
	"encoding/csv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/boothwire/boothwire/gateway/control/client"
)

// FuzzAuditCSV: whatever stands in a row comes back, and is no formula.
func FuzzAuditCSV(f *testing.F) {
	for _, text := range []string{"ann", "", "=1+1", "  @SUM(1)", "\t=1", "'=1", "\u3000＝1", "a,\"b\"\n=c", "-", "\r\n+1", "x;=cmd|' /C calc'!A0", "a; \u3000@SUM(1)", "a\t-1;+1", "Zoë; 2 ms", "a,=1", "\r\r\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return // the store has none
		}
		var b strings.Builder
		out := auditCSV{w: csv.NewWriter(&b)}
		if err := out.write([]client.Audit{{ID: 1, Who: text, Detail: text}}); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[1]) != len(rows[0]) {
			t.Fatalf("%q: %q, %v", text, rows, err)
		}
		got := rows[1][len(rows[1])-1]
		bare := func(text string) string { return strings.ReplaceAll(text, "'", "") }
		want := strings.ReplaceAll(text, "\r\n", "\n") // as encoding/csv reads it
		if bare(got) != bare(want) || rows[1][2] != got {
			t.Errorf("%q came back as %q", text, got)
		}
		for _, split := range []string{";", "\t", "\n", "\r"} { // at which some program splits
			for cell := range strings.SplitSeq(got, split) {
				if cell = strings.TrimLeft(cell, " \u00a0\u3000"); cell != "" && strings.ContainsAny(string([]rune(cell)[:1]), "=+-@＝＋－＠") {
					t.Errorf("%q of %q is a formula", cell, got)
				}
			}
		}
		if got != "" && strings.Contains("\t\r\n", got[:1]) {
			t.Errorf("%q begins a line of its own", got)
		}
	})
}
