package netlab

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Host is one namespace: an end host, a router, a NAT or a switch.
type Host struct {
	Name string

	lab  *Lab
	kind string
	ns   string
	note string
	ifs  int

	mu    sync.Mutex
	procs []*exec.Cmd
}

// Host adds an end host with its loopback up.
func (l *Lab) Host(name string) *Host { l.t.Helper(); return l.add(name, "host") }

// Router adds a host that forwards IPv4 and IPv6.
func (l *Lab) Router(name string) *Host {
	l.t.Helper()
	h := l.add(name, "router")
	h.sysctl("net/ipv4/ip_forward", "1")
	h.sysctl("net/ipv6/conf/all/forwarding", "1")
	return h
}

// Switch adds a namespace whose links are ports of one bridge.
func (l *Lab) Switch(name string) *Host {
	l.t.Helper()
	h := l.add(name, "switch")
	l.run(h.inside("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0", "stp_state", "0", "mcast_snooping", "0")...)
	l.run(h.inside("ip", "link", "set", "br0", "up")...)
	return h
}

// congestion is named by every route of a lab: a machine's default may be BBR,
// whose pacing hides what a queue does, and a namespace may only set a default
// that the whole machine allows.
const congestion = "cubic"

func (l *Lab) add(name, kind string) *Host {
	l.t.Helper()
	h := &Host{Name: name, lab: l, kind: kind, ns: l.id + name}
	l.run("ip", "netns", "add", h.ns)
	l.hosts = append(l.hosts, h)
	l.run(h.inside("ip", "link", "set", "lo", "up")...)
	h.sysctl("net/ipv6/conf/all/accept_dad", "0")
	h.sysctl("net/ipv6/conf/default/accept_dad", "0")
	h.sysctl("net/ipv6/conf/default/keep_addr_on_down", "1")
	return h
}

func (h *Host) sysctl(key, value string) {
	h.lab.t.Helper()
	err := h.Do(func() error { return os.WriteFile("/proc/sys/"+key, []byte(value), 0o644) })
	if err != nil {
		h.lab.t.Fatalf("netlab: %s: %s=%s: %v", h.Name, key, value, err)
	}
}

// inside is a program's command line in the host. nsenter becomes the program and
// touches no mounts, as "ip netns exec" would, which fails in a plain chroot.
func (h *Host) inside(name string, args ...string) []string {
	return append([]string{"nsenter", "--net=/run/netns/" + h.ns, name}, args...)
}

func (h *Host) exec(ctx context.Context, name string, args ...string) *exec.Cmd {
	line := h.inside(name, args...)
	return exec.CommandContext(ctx, line[0], line[1:]...)
}

// Command is a program to run inside the host; it is killed at the lab's end
// if it still runs. Its process is the program itself, not a wrapper.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := h.exec(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	h.mu.Lock()
	h.procs = append(h.procs, cmd)
	h.mu.Unlock()
	return cmd
}

// Run runs a program inside the host to its end and returns what it prints on
// stdout; it fails the test when the program does.
func (h *Host) Run(name string, args ...string) string {
	h.lab.t.Helper()
	out, err := h.Output(name, args...)
	if err != nil {
		h.lab.t.Fatal(err)
	}
	return out
}

// Output is Run with the error returned.
func (h *Host) Output(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := h.exec(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 10 * time.Second // a grandchild may still hold the pipes; one built with -race sleeps a second at its end
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("netlab: %s: %s %s: %w: %s%s", h.Name, name, strings.Join(args, " "), err,
			strings.TrimSpace(stdout.String()), strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Route adds a route: "default" or a prefix, by way of a neighbour.
func (h *Host) Route(to string, via netip.Addr) {
	h.lab.t.Helper()
	family := "-4"
	if via.Is6() {
		family = "-6"
	}
	h.lab.run(h.inside("ip", family, "route", "replace", to, "via", via.String(), "congctl", congestion)...)
}

// NFT loads an nftables script into the host.
func (h *Host) NFT(script string) {
	h.lab.t.Helper()
	cmd := h.exec(context.Background(), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.lab.t.Fatalf("netlab: %s: nft: %v: %.2000s\n%.4000s", h.Name, err, out, script)
	}
}

func (h *Host) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.procs {
		if c.Process != nil && c.ProcessState == nil {
			c.Process.Kill()
			c.Wait()
		}
	}
}
