package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is what a test waits for what takes milliseconds.
const patience = 10 * time.Second

// A plug is both ends of a pipe under test: the far end of the connection, and the
// program that runs boothctl.
type plug struct {
	far    *net.TCPConn
	stdin  *io.PipeWriter
	stdout *os.File
	ended  chan error
}

func plugIn(t *testing.T, ctx context.Context, linger time.Duration) *plug {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	in, stdin := io.Pipe()
	stdout, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &plug{far: far.(*net.TCPConn), stdin: stdin, stdout: stdout, ended: make(chan error, 1)}
	t.Cleanup(func() { far.Close(); stdin.Close(); stdout.Close(); out.Close() })
	far.SetDeadline(time.Now().Add(patience))
	go func() { p.ended <- pipe(ctx, near, in, out, linger) }()
	return p
}

func (p *plug) end(t *testing.T, want error) {
	t.Helper()
	select {
	case err := <-p.ended:
		if !errors.Is(err, want) {
			t.Errorf("ended with %v, want %v", err, want)
		}
	case <-time.After(patience):
		t.Fatal("the pipe goes on")
	}
}

func TestPipeCarriesEachEnd(t *testing.T) {
	p := plugIn(t, t.Context(), patience)
	io.WriteString(p.far, "banner")
	p.far.CloseWrite() // the far end has said all: the program must learn of it
	if text, err := io.ReadAll(p.stdout); err != nil || string(text) != "banner" {
		t.Errorf("the program read %q, %v", text, err)
	}
	io.WriteString(p.stdin, "late")
	p.stdin.Close()
	if text, err := io.ReadAll(p.far); err != nil || string(text) != "late" {
		t.Errorf("the far end read %q, %v", text, err)
	}
	p.end(t, nil)
}

func TestPipeEndsWithoutWaitingForStdin(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := plugIn(t, ctx, patience)
	cancel()
	p.end(t, context.Canceled)

	p = plugIn(t, t.Context(), patience)
	p.stdout.Close() // ssh was killed
	for range 100 {
		io.WriteString(p.far, strings.Repeat("x", 1<<10))
	}
	p.end(t, nil)
}

func TestPipeLeavesASilentFarEnd(t *testing.T) {
	p := plugIn(t, t.Context(), 50*time.Millisecond)
	p.stdin.Close()
	p.end(t, nil)
	if _, err := p.stdout.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the program read %v", err)
	}
	// Before the program has ended, silence says nothing.
	p = plugIn(t, t.Context(), 50*time.Millisecond)
	select {
	case err := <-p.ended:
		t.Errorf("ended with %v", err)
	case <-time.After(300 * time.Millisecond):
	}
}

func TestQuoteMakesOneWord(t *testing.T) {
	words := []string{"plain", "", "with space", "it's", `"`, `$HOME`, "`id`", `a\b`, "semi;colon", "(x)", "*", "new\nline", "--reason=café #1", "&"}
	for _, w := range words {
		out, err := exec.Command("/bin/sh", "-c", "printf %s "+quote(w, false)).Output()
		if err != nil {
			t.Skip(err)
		}
		if string(out) != w {
			t.Errorf("%q came out as %q", w, out)
		}
	}
	for w, want := range map[string]string{`C:\bin\boothctl.exe`: `C:\bin\boothctl.exe`, `C:\Program Files\boothctl.exe`: `"C:\Program Files\boothctl.exe"`} {
		if got := quote(w, true); got != want {
			t.Errorf("on Windows %q is %s, want %s", w, got, want)
		}
	}
}

func TestSSHLine(t *testing.T) {
	a := &app{token: token, quiet: true}
	o := new(opening)
	o.cfg.Reason, o.cfg.Lifetime = "100% stuck", time.Hour
	line := a.sshLine("/opt/booth wire/boothctl", "kiosk-1", "admin", o,
		sshFlags([]string{"a key"}, []string{"LogLevel=ERROR"}), []string{"uptime", "-p"})
	want := []string{
		"-o", "ProxyCommand='/opt/booth wire/boothctl' proxy '--reason=100%% stuck' --for=1h0m0s --quiet -- kiosk-1 %p",
		"-o", "HostKeyAlias=kiosk-1", "-l", "admin", "-i", "a key", "-o", "LogLevel=ERROR", "--", "kiosk-1", "uptime", "-p",
	}
	if !slices.Equal(line, want) {
		t.Errorf("got  %q\nwant %q", line, want)
	}
	if strings.Contains(strings.Join(line, " "), token) || !slices.Contains(a.sshEnv(), "BOOTHWIRE_TOKEN="+token) {
		t.Error("the sign-in is an argument")
	}
}
