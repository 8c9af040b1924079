package kernelvm

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
)

// Config is one machine.
type Config struct {
	// Tests and Bench are what it runs, as -test.run and -test.bench have them.
	Tests, Bench string
	// Modules are loaded before, in this order, each with what it needs.
	Modules []string
	// Memory in MiB; 0: 2048.
	Memory int
	// Timeout of the whole machine; 0: 300 s.
	Timeout time.Duration
	// Disk is a file that the guest has as /dev/vda; empty: none.
	Disk string
}

// Run boots a machine, and fails t unless the tests passed in it. What it prints
// goes to t's log, lines of figures ("bench ...") to stdout as well.
func Run(t testing.TB, cfg Config) {
	t.Helper()
	if Inside() {
		t.Skip("runs outside of the guest")
	}
	host := require(t)
	if cfg.Memory == 0 {
		cfg.Memory = 2048
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 300 * time.Second
	}
	initrd := filepath.Join(t.TempDir(), "initrd")
	if err := pack(t, initrd, host.modules, &cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), cfg.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, host.qemu, command(host, initrd, &cfg)...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := follow(t, out)
	err = cmd.Wait()
	t.Logf("the machine ran for %v", time.Since(began).Round(100*time.Millisecond))
	switch {
	case ctx.Err() != nil:
		t.Fatalf("the machine did not end in %v", cfg.Timeout)
	case end == "":
		t.Fatalf("the machine ended without a word: %v", err)
	case end != done+" rc=0":
		t.Fatalf("the tests in the machine failed: %s", end)
	}
}

// follow logs what the machine prints, and returns the line that says how it ended.
func follow(t testing.TB, out io.Reader) (end string) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		text := printable(line)
		switch {
		case strings.HasPrefix(text, done):
			end = text
		case strings.HasPrefix(text, "bench "):
			fmt.Println(text)
		case text != "":
			t.Log(text)
		}
		if err != nil {
			return end
		}
	}
}

// printable drops what a terminal would obey.
func printable(line string) string {
	line = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ReplaceAll(line, "\x1b[0m", ""))
	return strings.TrimRight(line, " ")
}

func command(host *host, initrd string, cfg *Config) []string {
	args := []string{
		// Not KVM, also where there is one: it is the same machine everywhere, and a
		// nested one may fail in ways that no test could tell from its own.
		"-accel", "tcg,thread=multi", "-cpu", "max",
		"-smp", "2", "-m", fmt.Sprint(cfg.Memory),
		"-kernel", host.kernel, "-initrd", initrd,
		// On a busy host the kernel would find its timer too slow, take the interrupt
		// controller for broken and do without it: then nothing that a process prints
		// gets out.
		"-append", "console=ttyS0 quiet loglevel=4 panic=-1 tsc=unstable no_timer_check",
		"-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio", "-monitor", "none",
	}
	if cfg.Disk != "" {
		args = append(args, "-drive", "file="+cfg.Disk+",format=raw,if=virtio,cache=unsafe")
	}
	return args
}

// pack writes the guest's files: the test binary of the package in the working
// folder, its arguments and the modules.
func pack(t testing.TB, to, dir string, cfg *Config) error {
	program := filepath.Join(filepath.Dir(to), "test")
	build := exec.Command("go", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("kernelvm: build the tests: %w: %s", err, out)
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	if cfg.Disk != "" {
		cfg.Modules = append([]string{"virtio_pci", "virtio_blk"}, cfg.Modules...)
	}
	files, err := modules(dir, cfg.Modules)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return err
	}
	a := newArchive(z)
	for _, d := range []string{"proc", "sys", "dev", "tmp", "run"} {
		a.dir(d)
	}
	a.console()
	for i, f := range files {
		content, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			return err
		}
		files[i] = "lib/modules/" + filepath.Base(f)
		a.file(files[i], false, content)
	}
	a.file(fileModules, false, []byte(strings.Join(files, "\n")))
	a.file(fileArgs, false, []byte(strings.Join(arguments(cfg), " ")))
	a.file(fileProgram, true, binary)
	a.file("/init", true, binary)
	if err := errors.Join(a.close(), z.Close()); err != nil {
		return err
	}
	return os.WriteFile(to, b.Bytes(), 0o600)
}

func arguments(cfg *Config) []string {
	run := cfg.Tests
	if run == "" {
		run = "^$"
	}
	args := []string{"-test.v", "-test.run=" + run, "-test.timeout=" + cfg.timeoutInside().String()}
	if cfg.Bench != "" {
		args = append(args, "-test.bench="+cfg.Bench, "-test.benchtime=1x")
	}
	return args
}

// timeoutInside leaves the guest time to say what hung.
func (cfg *Config) timeoutInside() time.Duration { return cfg.Timeout - cfg.Timeout/10 }

// host is what the machine that runs the guest has.
type host struct{ qemu, kernel, modules string }

// require finds it, or skips the test.
func require(t testing.TB) *host {
	t.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the guest is a Debian kernel for amd64, on Linux")
	}
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		netlab.Missing(t, "this test needs qemu-system-x86_64 (apt-get install qemu-system-x86, or make deps)")
	}
	kernels, _ := filepath.Glob("/boot/vmlinuz-*-cloud-amd64")
	slices.Sort(kernels)
	for _, k := range slices.Backward(kernels) {
		dir := "/lib/modules/" + strings.TrimPrefix(filepath.Base(k), "vmlinuz-")
		if _, err := os.Stat(filepath.Join(dir, "modules.dep")); err == nil {
			return &host{qemu: qemu, kernel: k, modules: dir}
		}
	}
	netlab.Missing(t, "this test needs a kernel (apt-get install linux-image-cloud-amd64, or make deps)")
	return nil
}
