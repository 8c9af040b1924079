//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/internal/browsertest"
	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/internal/rdptest"
)

// fleetSize is how many devices the console shows beside the real one.
const fleetSize = 10_000

// TestConsole plays the plan in a browser: an engineer finds the booth among ten
// thousand, connects, repairs it by Desktop, Terminal and Files while its customer goes
// on, disconnects, and the booth is silent again.
func TestConsole(t *testing.T) {
	if testing.Short() {
		t.Skip("short: a browser, and ten thousand devices")
	}
	netlab.Require(t, "node", "chromium", "Xvfb", "freerdp-shadow-cli", "xrdp", "xterm")
	browsertest.Tools(t)
	w := prepare(t, options{console: true})
	b := newBooth(w)
	desktop := rdptest.Shadow(t, b.screen, 3389)
	w.startAgent(options{rdpCert: desktop.Cert})
	w.waitOnline()
	speak := fleetSize
	if raceEnabled {
		speak /= 10 // keys take their time then
	}
	w.populate(fleetSize, speak)
	var played struct{ Session string }
	t.Run("story", func(t *testing.T) {
		if err := json.Unmarshal(b.play(t, "story.mjs", desktop), &played); err != nil {
			t.Fatal(err)
		}
		show(t, "strip", "device", "1-devices", "3-connected", "5-repaired", "6-terminal", "7-files")
	})
	t.Run("xrdp", func(t *testing.T) {
		desktop.Stop()
		b.play(t, "xrdp.mjs", rdptest.XRDP(t, w.kiosk, 3389, w.sftpRoot, desktop.Cert, desktop.Key))
	})
	pages := map[string]string{
		"devices": "", "device": "devices/" + kiosk, "sessions": "sessions", "session": "sessions/" + played.Session, "nodes": "nodes", "audit": "audit",
	}
	t.Run("hostile", func(t *testing.T) { w.browse(t, "hostile.mjs", map[string]any{"pages": pages}, nil) })
	t.Run("looks", func(t *testing.T) {
		pages["lost"] = "nowhere"
		w.browse(t, "looks.mjs", map[string]any{"pages": pages}, nil)
		show(t, "devices-zh-CN-dark", "devices-en-dark-phone")
	})
	w.settle()
	if still := b.customer.Pause(); still > patience/2 {
		t.Errorf("the customer's screen stood still for %v", still)
	}
	t.Logf("the customer saw %d pictures, each for at most %v", b.customer.Frames(), b.customer.Pause())
}

// show copies screenshots to where the documentation has them: make pictures says where.
func show(t *testing.T, names ...string) {
	t.Helper()
	folder := os.Getenv("BOOTHWIRE_PICTURES")
	if folder == "" || t.Failed() {
		return
	}
	for _, name := range names {
		picture, err := os.ReadFile(filepath.Join(browsertest.Shots(t), name+".png"))
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, strings.TrimLeft(name, "0123456789-")+".png"), picture, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A booth is the real kiosk: a customer before its own screen, a second one for
// engineers, and a printer whose queue is stuck.
type booth struct {
	w                *world
	customer, screen *rdptest.Screen
	spool            string // the printer's queue
}

func newBooth(w *world) *booth {
	w.t.Helper()
	b := &booth{w: w, spool: filepath.Join(w.sftpRoot, "spool")}
	if err := os.MkdirAll(b.spool, 0o777); err != nil {
		w.t.Fatal(err)
	}
	w.write(filepath.Join(b.spool, "job-0017"), "a page that the printer cannot take\n")
	w.random(filepath.Join(w.sftpRoot, "booth.log"), 4<<20)
	// The printer's service prints what it can, and says how it is.
	w.write(filepath.Join(b.spool, "service"), `while :; do
	if [ -e job-0017 ]; then echo stuck; else echo ready; fi >state.new
	mv state.new state
	sleep 0.2
done
`)
	p := start(w.t, w.kiosk, "sh", "-c", `cd "$1" && exec sh service`, "sh", b.spool)
	p.quiet = true
	b.customer = rdptest.NewScreen(w.t, w.kiosk, 640, 400)
	b.customer.Customer()
	b.screen = rdptest.NewScreen(w.t, w.kiosk, 1280, 720)
	b.screen.Terminal(b.spool)
	return b
}

// printer is what the printer's service says of itself.
func (b *booth) printer() string {
	text, _ := os.ReadFile(filepath.Join(b.spool, "state"))
	return strings.TrimSpace(string(text))
}

// picture keeps what the customer sees as a PNG.
func (b *booth) picture(file string) (any, error) {
	seen, err := b.customer.Picture()
	if err != nil {
		return nil, err
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(png.Encode(f, seen), f.Close())
}

// play runs a scenario in the engineer's browser; desktop is what port 3389 serves.
func (b *booth) play(t testing.TB, file string, desktop *rdptest.Server) json.RawMessage {
	t.Helper()
	return b.w.browse(t, file, map[string]any{
		"desktop": map[string]string{"user": desktop.User, "password": desktop.Password},
		"sshKey":  b.w.read(b.w.sshKey),
		"folder":  b.w.sftpRoot,
	}, map[string]func(json.RawMessage) (any, error){
		"printer":  func(json.RawMessage) (any, error) { return b.printer(), nil },
		"customer": func(json.RawMessage) (any, error) { return b.customer.Frames(), nil },
		"picture":  named(b.picture),
		"exists": named(func(name string) (any, error) {
			_, err := os.Stat(filepath.Join(b.w.sftpRoot, name))
			return err == nil, nil
		}),
		"sum": named(func(name string) (any, error) {
			return fmt.Sprintf("%x", b.w.sum(filepath.Join(b.w.sftpRoot, name))), nil
		}),
	})
}

// named is an answer about something that has a name.
func named(f func(name string) (any, error)) func(json.RawMessage) (any, error) {
	return func(data json.RawMessage) (any, error) {
		var name string
		if err := json.Unmarshal(data, &name); err != nil {
			return nil, err
		}
		return f(name)
	}
}

// browse plays a scenario in the engineer's browser, as the console's administrator.
func (w *world) browse(t testing.TB, file string, args map[string]any, answers map[string]func(json.RawMessage) (any, error)) json.RawMessage {
	t.Helper()
	all := map[string]any{
		"url":     "https://" + w.front + "/console/",
		"admin":   map[string]string{"name": "admin", "password": consolePassword},
		"device":  kiosk,
		"devices": fleetSize + 1,
	}
	for name, v := range args {
		all[name] = v
	}
	return browsertest.Play(t, browsertest.Scenario{File: file, Host: w.operator, Args: all, Answers: answers})
}
