//go:build linux

package relaybench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/internal/testca"
	"github.com/boothwire/boothwire/keys"
)

// derperVersion builds with this module's Go; no part of it is in go.mod.
const derperVersion = "v1.98.4"

const (
	fastAddr = "192.0.2.1"
	slowAddr = "198.51.100.1"
	ourPort  = "8443"
	port     = "443" // of derper
	debug    = "127.0.0.1:6060"
	lastMile = "20mbit"
)

// A bench is two namespaces, of the servers and of the clients of the last mile, with
// a fast and a slow way between them.
type bench struct {
	server, clients *netlab.Host
	dir             string
	programs        map[string]string // by server
	args            map[string][]string
	ca              string
	control         control
	key             string // our relay's
	runs            int
}

func newBench(tb testing.TB, kinds ...string) *bench {
	tb.Helper()
	l := netlab.New(tb)
	b := &bench{
		server: l.Host("servers"), clients: l.Host("clients"), dir: tb.TempDir(),
		programs: make(map[string]string), args: make(map[string][]string),
	}
	l.Link(b.server, fastAddr+"/24", b.clients, "192.0.2.2/24")
	slow := l.Link(b.server, slowAddr+"/24", b.clients, "198.51.100.2/24")
	// What a mobile network does: a rate, and 100 ms of queue.
	b.server.Run("tc", "qdisc", "add", "dev", slow.A.Name, "root", "tbf", "rate", lastMile, "burst", "32kb", "limit", "250000")
	l.Start()
	ca := testca.New(tb, b.dir)
	b.ca = ca.File
	cert, key := ca.Server(hostname, []string{hostname})
	for _, kind := range kinds {
		if kind == ours {
			b.ours(tb, cert, key)
		} else {
			b.theirs(tb, cert, key)
		}
	}
	return b
}

// ours builds our server and writes its configuration. Its limits are those of an
// open door: all legs come from one address.
func (b *bench) ours(tb testing.TB, cert, key string) {
	tb.Helper()
	b.programs[ours] = *relay
	if *relay == "" {
		b.programs[ours] = filepath.Join(b.dir, "boothwire-relay")
		build(tb, nil, filepath.Join("..", ".."), "build", "-o", b.programs[ours], "./cmd/boothwire-relay")
	}
	b.control = control(filepath.Join(b.dir, "control"))
	root, _, err := b.control.signer()
	if err != nil {
		tb.Fatal(err)
	}
	state := filepath.Join(b.dir, "relay")
	private := keys.NewPrivateKey()
	if err := keys.Dir(state).Save("relay-key", []byte(private.Expose())); err != nil {
		tb.Fatal(err)
	}
	b.key = private.Public().String()
	text := fmt.Sprintf("name = %q\nstate = %q\nlisten = \"0.0.0.0:%s\"\nroots = [%q]\nopen = 10000\nper_ip = 10000\nlog = \"warn\"\n",
		relayName, state, ourPort, root.String())
	if *profile != "" {
		text += fmt.Sprintf("debug = %q\n", debug)
	}
	text += fmt.Sprintf("[tls]\ncert = %q\nkey = %q\n", cert, key)
	file := filepath.Join(b.dir, "relay.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	b.args[ours] = []string{"-config", file}
}

// theirs builds derper outside of this module. Its settings are its own, but for the
// certificate and what else would listen.
func (b *bench) theirs(tb testing.TB, cert, key string) {
	tb.Helper()
	b.programs[theirs] = *derper
	if *derper == "" {
		b.programs[theirs] = filepath.Join(b.dir, "derper")
		build(tb, []string{"GOBIN=" + b.dir, "GOFLAGS=-mod=mod", "GOTOOLCHAIN=local"}, b.dir, "install", "tailscale.com/cmd/derper@"+derperVersion)
	}
	dir := filepath.Join(b.dir, "derper-certs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	for name, from := range map[string]string{hostname + ".crt": cert, hostname + ".key": key} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	b.args[theirs] = []string{
		"-a", ":" + port, "-certmode", "manual", "-certdir", dir, "-hostname", hostname,
		"-http-port", "-1", "-stun=false", "-c", filepath.Join(b.dir, "derper.json"),
	}
}

func build(tb testing.TB, env []string, dir string, args ...string) {
	tb.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("relay/* is not measured: go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// nice is how both processes of a measurement run: the longest of some thousand gaps is
// the machine's other work, where that has the same right to the processors.
func (r *role) nice() string {
	if r.Load == stall {
		return "-15"
	}
	return "0"
}

// measure puts one load on a fresh server, fresh because a process may be lucky or
// not with its memory.
func (b *bench) measure(r role) (res result, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	b.runs++
	var log bytes.Buffer
	server := b.server.Command(ctx, "nice", append([]string{"-n", r.nice(), b.programs[r.Server]}, b.args[r.Server]...)...)
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		return res, err
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if err != nil {
			err = fmt.Errorf("%s, %s: %w\n%.4000s", r.Server, r.Load, err, log.String())
		}
	}()
	p := port
	if r.Server == ours {
		p = ourPort
	}
	r.PID, r.CA, r.Control, r.Key, r.Debug = server.Process.Pid, b.ca, b.control, b.key, debug
	if *profile != "" && r.Server == ours {
		r.Profile = filepath.Join(*profile, fmt.Sprintf("%s-%d-%d.pprof", r.Load, r.Batch, b.runs))
	}
	host := b.server
	r.Addrs = [2]string{"127.0.0.1:" + p, "127.0.0.1:" + p}
	if r.Load == mile {
		host = b.clients
		r.Addrs = [2]string{fastAddr + ":" + p, slowAddr + ":" + p}
	}
	text, err := json.Marshal(r)
	if err != nil {
		return res, err
	}
	self, err := os.Executable()
	if err != nil {
		return res, err
	}
	load := host.Command(ctx, "nice", "-n", r.nice(), self)
	load.Env = append(os.Environ(), roleEnv+"="+string(text))
	var out, said bytes.Buffer
	load.Stdout, load.Stderr = &out, &said
	if err := load.Run(); err != nil {
		return res, fmt.Errorf("%w: %s", err, said.String())
	}
	return res, json.Unmarshal(out.Bytes(), &res)
}
