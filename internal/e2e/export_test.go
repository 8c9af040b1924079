//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
)

// TestExport hands a session to a stock WireGuard: wg-quick takes the file that
// boothctl wrote as it stands, with upstream's wireguard-go where the kernel has none,
// and ssh's port answers through a real node, for as long as the session lasts.
func TestExport(t *testing.T) {
	netlab.Require(t, "wg", "wg-quick")
	w := newWorld(t, options{})
	stock := filepath.Join(w.dir, "wireguard-go")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", stock, "golang.zx2c4.com/wireguard")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build upstream's wireguard-go: %v\n%s", err, out)
	}
	// The control sockets of all WireGuards of a machine share a folder: a name of our own.
	name := fmt.Sprintf("bwx%d", os.Getpid())
	file := filepath.Join(w.dir, name+".conf")
	before := w.operator.Snapshot(nil)
	w.ctl("session", "export", "--output", file, kiosk)
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("the file: %v, %v", st, err)
	}
	quick := func(verb string) {
		t.Helper()
		cmd := w.operator.Command(context.Background(), "wg-quick", verb, file)
		cmd.Env = append(os.Environ(), "WG_QUICK_USERSPACE_IMPLEMENTATION="+stock)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("wg-quick %s: %v\n%s", verb, err, out)
		}
	}
	quick("up")
	up := true
	t.Cleanup(func() {
		if up {
			quick("down")
		}
	})
	address := w.device().Address
	banner := func() (string, error) { return w.banner(w.operator, net.JoinHostPort(address, "22")) }
	answers := func() {
		t.Helper()
		eventually(t, "ssh's port answers", func() error {
			got, err := banner()
			if err != nil || !strings.HasPrefix(got, "SSH-2.0-OpenSSH") {
				return fmt.Errorf("it says %q, %v\n%s", got, err, w.operator.Run("wg", "show", name))
			}
			return nil
		})
	}
	answers()
	w.operator.Run("ping", "-c", "1", "-W", "10", address)
	if got, err := w.banner(w.operator, net.JoinHostPort(address, "445")); err == nil {
		t.Errorf("a port that was not granted says %q", got)
	}
	if shown := w.operator.Run("wg", "show", name, "latest-handshakes"); strings.HasSuffix(strings.TrimSpace(shown), "\t0") {
		t.Errorf("wg saw no handshake: %s", shown)
	}

	w.ctl("extend", kiosk, "2h")
	answers()
	w.ctl("close", kiosk)
	if got, err := banner(); err == nil {
		t.Errorf("after its end ssh's port says %q", got)
	}
	quick("down")
	up = false
	w.hostAsBefore(w.operator, before)
}

// banner is what a port says first to who connects from h.
func (w *world) banner(h *netlab.Host, addr string) (string, error) {
	var c net.Conn
	err := h.Do(func() (err error) { c, err = net.DialTimeout("tcp", addr, 3*time.Second); return })
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 64)
	n, err := io.ReadAtLeast(c, b, 4)
	return string(b[:n]), err
}
