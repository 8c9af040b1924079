package firstuse

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func open(t *testing.T, file string) *Pins {
	t.Helper()
	p, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *Pins) meets(t *testing.T, device, word string) bool {
	t.Helper()
	same, err := p.Meet(device, word)
	if err != nil {
		t.Fatal(err)
	}
	return same
}

// The first word counts, and no other one, also for the next process.
func TestFirst(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pins")
	for _, file := range []string{file, ""} {
		p := open(t, file)
		if p.Of("kiosk-1") != "" {
			t.Error("there is one already")
		}
		if !p.meets(t, "kiosk-1", "a") || !p.meets(t, "kiosk-1", "a") || p.meets(t, "kiosk-1", "b") || !p.meets(t, "kiosk-2", "b") {
			t.Errorf("it remembers %v", p.of)
		}
	}
	if p := open(t, file); p.Of("kiosk-1") != "a" || p.meets(t, "kiosk-1", "b") {
		t.Errorf("read again it has %v", p.of)
	}
	if text, _ := os.ReadFile(file); string(text) != "kiosk-1 a\nkiosk-2 b\n" {
		t.Errorf("the file has %q", text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if err := os.WriteFile(file, []byte("kiosk-2 b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !open(t, file).meets(t, "kiosk-1", "b") {
		t.Error("whose line was taken out has no new first")
	}
}

func TestCannotBeKept(t *testing.T) {
	p := open(t, filepath.Join(t.TempDir(), "gone", "pins"))
	for range 2 {
		if same, err := p.Meet("kiosk-1", "a"); err == nil || same {
			t.Errorf("a word that was not kept counts: %v", same)
		}
	}
}

func TestBrokenFiles(t *testing.T) {
	for _, text := range []string{"kiosk-1", "kiosk-1 a b", "kiosk-1 a\n\nkiosk-2 b", "kiosk-1 a\nkiosk-1 b\n", "{"} {
		file := filepath.Join(t.TempDir(), "pins")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(file); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add("kiosk-1 SHA256:abc\nkiosk-2 def\n")
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "pins")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Open(file)
		if err != nil {
			return
		}
		if len(p.of) != len(strings.Fields(text))/2 {
			t.Errorf("%q is %v", text, p.of)
		}
		if !p.meets(t, "another", "word") && p.Of("another") == "" {
			t.Errorf("%q: nothing new is met", text)
		}
		if again := open(t, file); len(again.of) != len(p.of) {
			t.Errorf("%v, then %v", p.of, again.of)
		}
	})
}
