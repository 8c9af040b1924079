package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What PostgreSQL's driver says over several lines is one line, whole, and said once.
func TestMigrateWithoutPostgres(t *testing.T) {
	const at = "127.0.0.1:1" // nobody listens there; a port that was free may be another's by now
	file := filepath.Join(t.TempDir(), "control.db")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := bare(t.Context(), "db", "migrate", file, "postgres://nobody@"+at+"/boothwire?sslmode=prefer")
	if got.code != exitFailed || got.out != "" || strings.Contains(got.err, "?") || strings.Count(got.err, "\n") != 1 ||
		strings.Count(got.err, at) != 2 || !strings.Contains(got.err, "`user=nobody database=boothwire`: "+at) {
		t.Errorf("got %+v", got)
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                         "plain",
		"cannot:\n\tfirst\n\tsecond\n":  "cannot: first; second",
		"one\ntwo":                      "one; two",
		"twice:\r\n\tsame\r\n\tsame":    "twice: same",
		"blank\n\n \nlines":             "blank; lines",
		"drives\x1b[2J:\n\tthe\u202eit": "drives?[2J: the?it",
		"":                              "",
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
