package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/boothwire/boothwire/internal/kernelvm"
	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/keys"
)

// What becomes of sessions on a kernel node when its process is killed or stopped,
// the clock is set, or the machine fails: on a machine of the test's own.

var guestModules = []string{"wireguard", "nf_tables", "nft_limit", "sch_htb", "sch_fq_codel"}

func TestKernelNode(t *testing.T) {
	kernelvm.Run(t, kernelvm.Config{Tests: "^TestGuest(Kill|Clock)$", Modules: guestModules})
}

// A machine that loses its power has its sessions again, by its journal, as soon as
// its node runs, whether or not control answers.
func TestKernelNodeReboot(t *testing.T) {
	if kernelvm.Inside() {
		t.Skip("runs outside of the guest")
	}
	netlab.Require(t, "mkfs.ext4")
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		mkfs = "/usr/sbin/mkfs.ext4"
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 16<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-q", disk).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	kernelvm.Run(t, kernelvm.Config{Tests: "^TestGuestBeforeReboot$", Modules: guestModules, Disk: disk})
	kernelvm.Run(t, kernelvm.Config{Tests: "^TestGuestAfterReboot$", Modules: guestModules, Disk: disk})
}

// envNode makes this process a node that keeps its state in the folder that it
// names; envRoots are its roots.
const (
	envNode  = "BOOTHWIRE_GATEWAY_NODE"
	envRoots = "BOOTHWIRE_GATEWAY_ROOTS"
)

func kernelNode(dir string) *Config {
	return &Config{
		Store: keys.Dir(dir), Journal: filepath.Join(dir, "journal"), Plane: Kernel, Listen: 51820,
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
	}
}

// TestGuestNode is the process of a node, for the tests that kill it.
func TestGuestNode(t *testing.T) {
	dir := os.Getenv(envNode)
	if dir == "" {
		t.Skip("is a part of other tests")
	}
	n, err := Open(t.Context(), "wg-bj-01", must(keys.ParseRoots("test", os.Getenv(envRoots))), kernelNode(dir))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("@@%d sessions\n", len(n.Sessions()))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Printf("@@%v\n", n.Admit(t.Context(), lines.Bytes()))
	}
}

// process is a node in a process of its own.
type process struct {
	cmd   *exec.Cmd
	stdin io.Writer
	lines *bufio.Scanner
	said  string // at its start
}

func startNode(t *testing.T, a *authority, dir string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestGuestNode$", "-test.v")
	cmd.Env = append(os.Environ(), envNode+"="+dir, envRoots+"="+a.text)
	cmd.Stderr = os.Stderr
	p := &process{cmd: cmd, stdin: must(cmd.StdinPipe())}
	p.lines = bufio.NewScanner(must(cmd.StdoutPipe()))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.said = p.hear(t)
	return p
}

func (p *process) hear(t *testing.T) string {
	t.Helper()
	for p.lines.Scan() {
		if word, ok := strings.CutPrefix(p.lines.Text(), "@@"); ok {
			return word
		}
		t.Log(p.lines.Text())
	}
	t.Fatal("the node ended")
	return ""
}

func (p *process) admit(t *testing.T, token []byte) {
	t.Helper()
	fmt.Fprintf(p.stdin, "%s\n", token)
	if got := p.hear(t); got != "<nil>" {
		t.Fatalf("admit: %s", got)
	}
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// farEnd is what a node with the state in dir says of itself.
func farEnd(dir string) keys.FarEnd {
	return keys.FarEnd{
		Node: "wg-bj-01", Key: must(openKey(keys.Dir(dir))).Public(), Proof: netip.MustParseAddr("10.166.0.1"),
		Endpoints:         []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:51820")},
		OperatorEndpoints: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:51821")},
	}
}

// kernelPair is session i of a kernel node.
func kernelPair(far keys.FarEnd, i int) *pair {
	p := newPair(&Node{name: far.Node, cfg: Config{Endpoints: far.Endpoints, Proof: far.Proof}}, i, keys.TCP(22))
	p.grant.Far = far
	return p
}

// talk connects both ends of a session to the node, and returns a connection from
// the operator to an echo at the device.
func (p *pair) talk(t *testing.T) net.Conn {
	t.Helper()
	far := p.grant.Far
	device := up(t, far, p.device, p.devAddr())
	if !device.ping(far.Proof, patience) {
		t.Fatal("the node does not answer the device's proof")
	}
	far.Endpoints = far.OperatorEndpoints
	operator := up(t, far, p.operator, p.opAddr())
	ln, err := device.net.ListenTCPAddrPort(netip.AddrPortFrom(device.address, 22))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := operator.net.DialContextTCPAddrPort(ctx, netip.AddrPortFrom(device.address, 22))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestGuestKill(t *testing.T) {
	kernelvm.Guest(t)
	a, dir := newAuthority(t, "test"), t.TempDir()
	far := farEnd(dir)
	p := kernelPair(far, 1)
	node := startNode(t, a, dir)
	node.admit(t, a.sign(t, &p.grant))
	c := p.talk(t)
	say := func(when string) {
		t.Helper()
		if !echoes(c, when, patience) {
			t.Fatalf("no echo %s", when)
		}
	}
	say("at first")
	node.cmd.Process.Signal(syscall.SIGSTOP)
	for range 20 {
		say("while the process is stopped")
		time.Sleep(100 * time.Millisecond)
	}
	node.cmd.Process.Signal(syscall.SIGCONT)
	say("after")
	for range 2 {
		node.kill()
		say("without a process")
		node = startNode(t, a, dir)
		if node.said != "1 sessions" {
			t.Errorf("the next process knows %s", node.said)
		}
		say("with the next process")
	}
	node.admit(t, a.sign(t, p.next(nil)))
	say("with the next grant")
	node.kill()
	n := must(Open(t.Context(), "wg-bj-01", a.roots, kernelNode(dir)))
	say("with a node of this process")
	eventually(t, "the node knows of the session that the kernel kept", func() bool {
		s := n.Sessions()
		return len(s) == 1 && !s[0].Proved.IsZero()
	})
	// Nothing of it outlives an orderly end.
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"wgd0", "wgo0"} {
		if _, err := net.InterfaceByName(name); err == nil {
			t.Errorf("%s is left", name)
		}
	}
}

// setClock moves the guest's clock.
func setClock(t *testing.T, by time.Duration) {
	t.Helper()
	now := unix.NsecToTimeval(time.Now().Add(by).UnixNano())
	if err := unix.Settimeofday(&now); err != nil {
		t.Fatal(err)
	}
}

// A grant ends by the node's clock, however that is set, and never later than it
// would have without.
func TestGuestClock(t *testing.T) {
	kernelvm.Guest(t)
	a, dir := newAuthority(t, "test"), t.TempDir()
	r := &recorder{}
	cfg := kernelNode(dir)
	cfg.Observe = r.observe
	n, err := Open(t.Context(), "wg-bj-01", a.roots, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	p := kernelPair(n.FarEnd(), 1)
	admit(t, n, a, &p.grant)
	c := p.talk(t)
	if !echoes(c, "at first", patience) {
		t.Fatal("no echo")
	}
	setClock(t, -24*time.Hour)
	time.Sleep(2 * time.Second)
	if !echoes(c, "a day back", patience) {
		t.Error("no echo after the clock was set back")
	}
	setClock(t, 24*time.Hour+30*time.Minute)
	time.Sleep(2 * time.Second)
	if !echoes(c, "half an hour ahead", patience) {
		t.Error("no echo after the clock was set ahead, within the session's time")
	}
	setClock(t, time.Hour)
	if e := wait(t, r, KindClosed, p.grant.Session); e.Code != CodeExpired {
		t.Errorf("closed for %q", e.Code)
	}
	if echoes(c, "too late", 2*time.Second) {
		t.Error("the session outlives its end")
	}
	setClock(t, -90*time.Minute)
	if err := n.Admit(t.Context(), a.sign(t, p.next(nil))); codeOf(err) != keys.ReasonClosed {
		t.Errorf("a session that is over came back: %v", err)
	}
}

// The disk of the guests before and after the reboot.
const guestDisk = "/tmp/disk"

func mountDisk(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(guestDisk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("/dev/vda", guestDisk, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
}

func TestGuestBeforeReboot(t *testing.T) {
	kernelvm.Guest(t)
	mountDisk(t)
	a := newAuthority(t, "test")
	p := kernelPair(farEnd(guestDisk), 1)
	node := startNode(t, a, guestDisk)
	node.admit(t, a.sign(t, &p.grant))
	if !echoes(p.talk(t), "at first", patience) {
		t.Fatal("no echo")
	}
	state := strings.Join([]string{a.text, p.device.Expose(), p.operator.Expose()}, "\n")
	if err := keys.Dir(guestDisk).Save("test-state", []byte(state)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second) // the journal goes to the disk once a second
	runtime.KeepAlive(node)      // or its end of the pipe is closed, which ends it
	kernelvm.Reset()
}

func TestGuestAfterReboot(t *testing.T) {
	kernelvm.Guest(t)
	mountDisk(t)
	state := strings.Split(string(must(keys.Dir(guestDisk).Load("test-state"))), "\n")
	if _, err := net.InterfaceByName("wgd0"); err == nil {
		t.Fatal("an interface outlived the machine")
	}
	n, err := Open(t.Context(), "wg-bj-01", must(keys.ParseRoots("test", state[0])), kernelNode(guestDisk))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if len(n.Sessions()) != 1 {
		t.Fatalf("%d sessions after the reboot", len(n.Sessions()))
	}
	p := kernelPair(n.FarEnd(), 1)
	p.device, p.operator = must(keys.ParsePrivateKey(state[1])), must(keys.ParsePrivateKey(state[2]))
	if !echoes(p.talk(t), "after the reboot", patience) {
		t.Error("no echo after the reboot")
	}
}
