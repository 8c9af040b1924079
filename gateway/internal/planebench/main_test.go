//go:build linux

package planebench

import (
	"bufio"
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/boothwire/boothwire/internal/netlab"
)

var (
	rounds  = flag.Int("rounds", 15, "rounds of a comparison")
	window  = flag.Duration("window", 2*time.Second, "time of one measurement")
	profile = flag.String("profile", "", "write CPU profiles of the nodes to this directory")
)

// roleEnv makes this test binary one process of a measurement instead.
const roleEnv = "BOOTHWIRE_PLANEBENCH"

func TestMain(m *testing.M) {
	text := os.Getenv(roleEnv)
	if text == "" {
		os.Exit(m.Run())
	}
	var r role
	err := json.Unmarshal([]byte(text), &r)
	if err == nil {
		err = r.run(os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "planebench:", err)
		os.Exit(1)
	}
}

// A role is what one process does, as JSON in its environment. It says one line when
// it is ready, and one report for every line that it reads, until its input ends.
type role struct {
	Kind     string
	Node     netip.AddrPort // the node's socket
	Sessions int
	Uplink   int64 // bit/s that the node shares out; 0: it does not
	Police   int64 // bit/s beyond which it drops; 0: it does not
	Size     int   // bytes of a packet
	Profile  string
}

// A report is what a process has used and passed so far.
type report struct {
	CPU     time.Duration
	Packets uint64
	RSS     int64 // bytes
	Flows   []flowReport
	Echoes  []time.Duration // round trips since the last report
	Values  map[string]float64
}

// worker is a role at work.
type worker interface {
	report(command string, r *report) error
	stop()
}

func (r *role) run(in io.Reader, out io.Writer) error {
	w, err := r.start()
	if err != nil {
		return err
	}
	defer w.stop()
	fmt.Fprintln(out, "ready")
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			return err
		}
		rep := report{CPU: time.Duration(u.Utime.Nano() + u.Stime.Nano()), RSS: rss()}
		if err := w.report(lines.Text(), &rep); err != nil {
			return err
		}
		if err := json.NewEncoder(out).Encode(rep); err != nil {
			return err
		}
	}
	return nil
}

func (r *role) start() (worker, error) {
	switch r.Kind {
	case "ours":
		return r.ours()
	case "plain":
		return r.plain()
	case "pair":
		return r.pair()
	case "scale":
		return r.scale()
	case "devices", "operators":
		return r.ends()
	}
	return nil, fmt.Errorf("no role %q", r.Kind)
}

// rss is VmRSS of this process.
func rss() int64 {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib int64
			fmt.Sscan(rest, &kib)
			return kib << 10
		}
	}
	return 0
}

// A process is one role in a process of its own.
type process struct {
	kind string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	err  strings.Builder
}

// spawn starts r, in h's namespace unless h is nil, and waits until it is ready.
func spawn(ctx context.Context, h *netlab.Host, r role) (*process, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{kind: r.Kind}
	if h != nil {
		// Before the machine's other work, which would be measured as well.
		p.cmd = h.Command(ctx, "nice", "-n", "-15", self)
	} else {
		p.cmd = exec.CommandContext(ctx, self)
	}
	p.cmd.Env = append(os.Environ(), roleEnv+"="+string(text))
	p.cmd.Stderr = &p.err
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if h != nil {
		// Where the scheduler groups processes by session, a nice value counts in its
		// own group only.
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", p.cmd.Process.Pid), []byte("-15"), 0o644)
	}
	if line, err := p.out.ReadString('\n'); err != nil || line != "ready\n" {
		p.stop()
		return nil, fmt.Errorf("planebench: %s is not ready: %q, %v: %s", r.Kind, line, err, p.err.String())
	}
	return p, nil
}

// ask has the process do a command and returns its report.
func (p *process) ask(command string) (r report, err error) {
	if _, err = fmt.Fprintln(p.in, command); err != nil {
		return r, err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return r, fmt.Errorf("planebench: %s: %w: %s", p.kind, err, p.err.String())
	}
	return r, json.Unmarshal(line, &r)
}

func (p *process) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// keyOf is the private key of number i of a kind of end, the same in every process,
// and publicOf the public one.
func keyOf(kind string, i int) *ecdh.PrivateKey {
	seed := sha256.Sum256(fmt.Appendf(nil, "planebench %s %d", kind, i))
	k, err := ecdh.X25519().NewPrivateKey(seed[:])
	if err != nil {
		panic(err)
	}
	return k
}

func publicOf(kind string, i int) [32]byte { return [32]byte(keyOf(kind, i).PublicKey().Bytes()) }

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// addressOf is the tunnel address of number i of a kind of end.
func addressOf(kind string, i int) netip.Addr {
	net := map[string]byte{"device": 64, "operator": 128}[kind]
	return netip.AddrFrom4([4]byte{10, 166, net + byte(i>>8), byte(i)})
}

// line prints one figure.
func line(name string, value float64, unit, kind string, bar float64) {
	text, verdict := "-", "ok"
	if kind != "info" {
		text = fmt.Sprint(bar)
	}
	if kind == "at-least" && value < bar || kind == "at-most" && value > bar {
		verdict = "short"
	}
	fmt.Printf("bench gateway/%s %.4g %s %s %s %s\n", name, value, unit, kind, text, verdict)
}
