package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Do runs f on a thread of its own inside the host's namespace. Sockets and TUN
// devices that f opens stay there; goroutines that it starts do not.
func (h *Host) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// The thread is never unlocked: it ends with this goroutine, because a
		// thread in another namespace must not serve anybody else.
		runtime.LockOSThread()
		ended := fmt.Errorf("netlab: what was to be done in %s ended its goroutine", h.Name) // as a test's Fatal does
		defer func() { done <- ended }()                                                     // last, when fd is closed
		fd, err := unix.Open("/run/netns/"+h.ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			ended = fmt.Errorf("netlab: open namespace of %s: %w", h.Name, err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			ended = fmt.Errorf("netlab: enter %s: %w", h.Name, err)
			return
		}
		ended = f()
	}()
	return <-done
}

// kill ends the processes that live in a namespace of ours.
func kill(ns string) {
	out, err := exec.Command("ip", "netns", "pids", ns).Output()
	if err != nil {
		return
	}
	for _, f := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(f); err == nil && pid != os.Getpid() {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// openTUN makes the interface as a TUN device without packet information.
func openTUN(i *Interface) (*os.File, error) {
	var f *os.File
	err := i.host.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("netlab: open /dev/net/tun: %w", err)
		}
		req, err := unix.NewIfreq(i.Name)
		if err == nil {
			req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
		if err == nil {
			err = unix.SetNonblock(fd, true)
		}
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("netlab: make %s of %s: %w", i.Name, i.host.Name, err)
		}
		f = os.NewFile(uintptr(fd), "tun")
		return nil
	})
	return f, err
}
