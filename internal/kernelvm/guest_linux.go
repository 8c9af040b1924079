package kernelvm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// boot is the guest's first process: it makes a system of what the kernel gives,
// runs the tests as a process of its own, says how that ended and turns the machine
// off. It does not return.
func boot() {
	code := 1
	err := prepare()
	if err == nil {
		code, err = tests()
	}
	if err != nil {
		fmt.Println("kernelvm:", err)
	}
	say(code)
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

// say prints how the tests ended, and returns when that is out.
func say(code int) {
	fmt.Printf("%s rc=%d\n", done, code)
	_ = unix.IoctlSetInt(int(os.Stdout.Fd()), unix.TCSBRK, 1) // tcdrain(3)
	time.Sleep(100 * time.Millisecond)
}

func prepare() error {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"},
	} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 16, Max: 1 << 16}); err != nil {
		return err
	}
	list, err := os.ReadFile(fileModules)
	if err != nil {
		return err
	}
	for _, f := range strings.Fields(string(list)) {
		if err := load("/" + f); err != nil {
			return fmt.Errorf("load %s: %w", f, err)
		}
	}
	return up("lo")
}

func load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(file, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err = unix.FinitModule(int(f.Fd()), "", flags)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// up raises an interface.
func up(name string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req)
}

// tests runs the tests and returns how their process ended.
func tests() (int, error) {
	args, err := os.ReadFile(fileArgs)
	if err != nil {
		return 1, err
	}
	cmd := exec.Command(fileProgram, strings.Fields(string(args))...)
	cmd.Env = append(os.Environ(), guestEnv+"=1", "HOME=/tmp", "PATH=/sbin:/bin", "CI=1")
	cmd.Dir = "/tmp"
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return cmd.ProcessState.ExitCode(), err
}

// Reset ends the guest as a loss of power does, with the test that calls it passed:
// what is not on its disk by now is lost.
func Reset() {
	say(0)
	// Not unix.Reboot, which another process than the first may call too, but which
	// writes to disks on its way.
	_ = os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0)
	select {}
}
