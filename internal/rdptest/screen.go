//go:build linux

package rdptest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/internal/netlab"
)

// A Screen is an X server without a display, whose pixels are in a file.
type Screen struct {
	t       testing.TB
	host    *netlab.Host
	display string // such as ":3"
	pixels  string // file, an X window dump
	watched *watched
}

// NewScreen starts an X server of the given size, which is 24 bits deep. No key repeats: a
// slow machine lets go of them late.
func NewScreen(t testing.TB, host *netlab.Host, width, height int) *Screen {
	t.Helper()
	netlab.Require(t, "Xvfb")
	dir := t.TempDir()
	s, _ := startX(t, host, "Xvfb", "-screen", "0", fmt.Sprintf("%dx%dx24", width, height), "-fbdir", dir, "-nolisten", "tcp", "-noreset", "-r")
	s.pixels = filepath.Join(dir, "Xvfb_screen0")
	return s
}

// startX starts an X server on a display of its own choice. It finds one that is free,
// also of those in other namespaces, by the lock files of /tmp.
func startX(t testing.TB, host *netlab.Host, name string, args ...string) (*Screen, *process) {
	t.Helper()
	chosen := filepath.Join(t.TempDir(), "display")
	args = append([]string{"-c", `exec "$@" -displayfd 3 3>"$0"`, chosen, name}, args...)
	x := start(t, host, nil, "sh", args...)
	s := &Screen{t: t, host: host}
	x.await(t, "its display", func() error {
		text, err := os.ReadFile(chosen)
		if err == nil && !strings.HasSuffix(string(text), "\n") {
			err = errors.New("no number yet")
		}
		s.display = ":" + strings.TrimSpace(string(text))
		return err
	})
	return s, x
}

// Run shows a program, which runs until the test ends.
func (s *Screen) Run(name string, args ...string) {
	s.t.Helper()
	s.start(name, args...)
}

func (s *Screen) start(name string, args ...string) *process {
	s.t.Helper()
	return start(s.t, s.host, []string{"DISPLAY=" + s.display, "LANG=C.UTF-8"}, name, args...)
}

// Terminal shows a shell in the whole screen, in the given folder; what is typed there
// has its effect on files.
func (s *Screen) Terminal(folder string) {
	s.t.Helper()
	netlab.Require(s.t, "xterm")
	s.Run("xterm", terminal(folder)...)
}

// terminal is xterm's command line.
func terminal(folder string) []string {
	return []string{"-geometry", "200x80+0+0", "-fa", "DejaVu Sans Mono", "-fs", "14", "-bg", "#10222e", "-fg", "#e8f0f2",
		"-e", "sh", "-c", `cd "$1" && PS1="kiosk> " exec sh -i`, "sh", folder}
}

// Picture is what the screen shows now.
func (s *Screen) Picture() (*image.RGBA, error) {
	dump, err := os.ReadFile(s.pixels)
	if err != nil {
		return nil, err
	}
	return readDump(dump)
}

// readDump reads an X window dump (XWDFile.h) of 32 bits a pixel, blue first.
func readDump(dump []byte) (*image.RGBA, error) {
	const fields = 25
	if len(dump) < 4*fields {
		return nil, errors.New("rdptest: no window dump")
	}
	word := func(n int) int { return int(binary.BigEndian.Uint32(dump[4*n:])) }
	header, width, height, line, colours := word(0), word(4), word(5), word(12), word(19)
	const most = 1 << 15 // of everything here
	for _, n := range []int{header, width, height, line / 4, colours} {
		if n > most {
			return nil, errors.New("rdptest: a window dump out of range")
		}
	}
	pixels := header + 12*colours
	if word(1) != 7 || word(11) != 32 || word(7) != 0 || line < 4*width || len(dump) < pixels+line*height {
		return nil, errors.New("rdptest: an unknown kind of window dump")
	}
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			p := dump[pixels+y*line+4*x:]
			picture.SetRGBA(x, y, color.RGBA{R: p[2], G: p[1], B: p[0], A: 0xff})
		}
	}
	return picture, nil
}
