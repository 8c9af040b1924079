//go:build linux

package wgbench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/boothwire/boothwire/internal/bind"
)

// The kinds of processes.
const (
	plainEnd = "plain"  // a device over WireGuard's own Bind
	ourEnd   = "ours"   // a device over this module's
	source   = "source" // writes TCP as fast as it goes
	sink     = "sink"   // reads it
)

// Kinds of ends that have a TCP/IP stack in the process, and do what a source or a
// sink does beside a TUN.
const (
	driverlessEnd = "driverless" // a tunnel of this module without an adapter
	upstreamEnd   = "upstream"   // a device over WireGuard's own netstack
)

// A role is what one process does, as JSON in its environment. It says one line
// when it is ready, and one report for every line that it reads, until the end of
// its input.
type role struct {
	Kind    string
	Private string         // hex, as wg's
	Public  string         // of the far end
	Own     netip.Addr     // in the tunnel
	Far     netip.Addr     // in the tunnel
	Path    netip.AddrPort // of the far end's socket
	TCP     string         // of what listens
	Dial    bool           // the source or sink calls, otherwise it listens
	Reads   bool           // an end without a TUN is a sink
	Profile string         // file of a CPU profile, or empty
}

const (
	port = 51820 // of both ends' sockets
	mtu  = 1420  // of both ends
)

// A report is what a process has used and passed so far.
type report struct {
	CPU   time.Duration
	Bytes int64
}

func (r *role) run(in io.Reader, out io.Writer) error {
	var bytes atomic.Int64
	stop, err := r.start(&bytes)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintln(out, "ready")
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			return err
		}
		cpu := time.Duration(u.Utime.Nano() + u.Stime.Nano())
		if err := json.NewEncoder(out).Encode(report{cpu, bytes.Load()}); err != nil {
			return err
		}
	}
	return nil
}

func (r *role) start(bytes *atomic.Int64) (stop func(), err error) {
	switch r.Kind {
	case source, sink:
		reads := r.Kind == sink
		if r.Dial {
			c, err := net.Dial("tcp", r.TCP)
			if err != nil {
				return nil, err
			}
			go pass(c, reads, bytes)
			return func() { c.Close() }, nil
		}
		ln, err := net.Listen("tcp", r.TCP)
		if err != nil {
			return nil, err
		}
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			pass(c, reads, bytes)
		}()
		return func() { ln.Close() }, nil
	case driverlessEnd:
		stop, err = r.driverless(bytes)
	case upstreamEnd:
		stop, err = r.upstream(bytes)
	default:
		stop, err = r.end()
	}
	if err != nil || r.Profile == "" {
		return stop, err
	}
	return r.profiled(stop)
}

// pass writes to c as fast as it goes, or reads.
func pass(c net.Conn, reads bool, bytes *atomic.Int64) {
	if !reads {
		_, _ = io.Copy(c, zeros{})
		return
	}
	buf := make([]byte, chunk)
	for {
		n, err := c.Read(buf)
		bytes.Add(int64(n))
		if err != nil {
			return
		}
	}
}

const chunk = 256 << 10 // bytes of one read or write

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func (zeros) WriteTo(w io.Writer) (n int64, err error) {
	for buf := make([]byte, chunk); err == nil; {
		var m int
		m, err = w.Write(buf)
		n += int64(m)
	}
	return n, err
}

// end brings a device up on a TUN of this process's namespace.
func (r *role) end() (stop func(), err error) {
	const name = "wgbench0"
	nic, err := tun.CreateTUN(name, mtu)
	if err != nil {
		return nil, fmt.Errorf("create TUN: %w", err)
	}
	var b conn.Bind = conn.NewDefaultBind()
	endpoint := r.Path.String()
	if r.Kind == ourEnd {
		ours := bind.New(nil, bind.Config{})
		ours.AddPeer("far").SetPath(r.Path)
		ours.PacketConn() // as a tunnel's is that looks for paths
		b, endpoint = ours, "peer:far"
	}
	dev := r.device(nic, b)
	err = dev.IpcSet(r.lines(endpoint))
	for _, args := range [][]string{
		{"addr", "add", r.Own.String() + "/32", "dev", name},
		{"link", "set", name, "up"},
		{"route", "add", r.Far.String() + "/32", "dev", name, "congctl", "cubic"},
	} {
		if err == nil {
			if out, e := exec.Command("ip", args...).CombinedOutput(); e != nil {
				err = fmt.Errorf("ip %q: %w: %s", args, e, out)
			}
		}
	}
	if err == nil {
		err = dev.Up() // once the TUN can take what arrives
	}
	if err != nil {
		dev.Close()
		return nil, err
	}
	return dev.Close, nil
}

// profiled writes a CPU profile until the end that stop stops is stopped.
func (r *role) profiled(stop func()) (func(), error) {
	f, err := os.Create(r.Profile)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		stop()
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
		stop()
	}, nil
}
