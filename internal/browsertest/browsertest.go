package browsertest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
)

// A Scenario is one module and what it is told.
type Scenario struct {
	// File is its name in the console's folder of tests, such as "story.mjs".
	File string
	// Args becomes JSON; its field "url" is the console's, the only origin that pages may ask.
	Args any
	// Answers are what the scenario may ask for, by name, one question at a time.
	Answers map[string]func(data json.RawMessage) (any, error)
	// Host is where the browser runs; nil: beside the test.
	Host *netlab.Host
	// Flags are added to Chromium's command line.
	Flags []string
}

// Play plays a scenario to its end and returns its result as JSON. What it logs goes to t's
// log, its screenshots to the folder of [Shots]; t fails when it does.
func Play(t testing.TB, s Scenario) json.RawMessage {
	t.Helper()
	folder := Tools(t)
	p, err := start(t, s, folder)
	if err != nil {
		t.Fatal(err)
	}
	result, err := p.follow(t, s.Answers)
	if err != nil {
		t.Fatalf("%s: %v\nscreenshots: %s", s.File, err, p.shots)
	}
	return result
}

// Tools is the folder of the console's web sources, with what make assets fetches in it.
func Tools(t testing.TB) string {
	t.Helper()
	netlab.Require(t, "node")
	folder := Web()
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "playwright-core")); err != nil {
		netlab.Missing(t, "this test needs the console's npm packages (make assets)")
	}
	return folder
}

// Web is the folder of the console's web sources.
func Web() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "gateway", "control", "console", "web")
}

// Shots is the folder for what a test wants to keep: one of its own below that which the
// environment names in BOOTHWIRE_ARTIFACTS, else go test's.
func Shots(t testing.TB) string {
	t.Helper()
	root := os.Getenv("BOOTHWIRE_ARTIFACTS")
	if root == "" {
		return t.ArtifactDir()
	}
	dir := filepath.Join(root, filepath.FromSlash(t.Name()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// chromium is Debian's name, then others'.
func chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	netlab.Missing(t, "this test needs chromium (apt-get install it, or make deps)")
	return ""
}

// A player is the node process of a scenario.
type player struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	stderr strings.Builder
	shots  string
}

func start(t testing.TB, s Scenario, folder string) (*player, error) {
	t.Helper()
	p := &player{shots: Shots(t)}
	brief, err := json.Marshal(map[string]any{
		"scenario": "./" + s.File, "args": s.Args, "shots": p.shots, "chromium": chromium(t), "flags": s.Flags,
	})
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext
	if s.Host != nil {
		command = s.Host.Command
	}
	p.cmd = command(t.Context(), "node", filepath.Join(folder, "test", "run.mjs"))
	// Asked so, it closes Chromium.
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.WaitDelay = 10 * time.Second
	p.cmd.Stderr = &p.stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	p.out.Buffer(nil, 16<<20)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(p.in, "%s\n", brief)
	return p, err
}

// A message is a line that the player prints; one field is set.
type message struct {
	Log    string          `json:"log"`
	Ask    string          `json:"ask"`
	ID     int             `json:"id"`
	Data   json.RawMessage `json:"data"`
	Result json.RawMessage `json:"result"`
	Failed string          `json:"failed"`
}

// follow logs and answers until the player ends.
func (p *player) follow(t testing.TB, answers map[string]func(json.RawMessage) (any, error)) (result json.RawMessage, err error) {
	t.Helper()
	failed := "it ended without a result"
	for p.out.Scan() {
		var m message
		if json.Unmarshal(p.out.Bytes(), &m) != nil {
			t.Log(p.out.Text())
			continue
		}
		switch {
		case m.Failed != "":
			failed = m.Failed
		case m.Result != nil:
			result, failed = m.Result, ""
		case m.Ask != "":
			if err := p.answer(m, answers[m.Ask]); err != nil {
				return nil, err
			}
		default:
			t.Log(m.Log)
		}
	}
	p.in.Close()
	err = p.cmd.Wait()
	if failed != "" || err != nil {
		return nil, fmt.Errorf("%s (%v)\n%s", failed, err, p.stderr.String())
	}
	return result, nil
}

func (p *player) answer(m message, f func(json.RawMessage) (any, error)) error {
	answer := map[string]any{"id": m.ID}
	if f == nil {
		answer["error"] = "the test knows no answer"
	} else if data, err := f(m.Data); err != nil {
		answer["error"] = err.Error()
	} else {
		answer["data"] = data
	}
	line, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.in, "%s\n", line)
	return err
}
