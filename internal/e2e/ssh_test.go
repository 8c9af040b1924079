//go:build linux

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestBoothctlSSH reaches the kiosk with nothing remembered: its host key must be
// the one that the device signed, and another one is refused.
func TestBoothctlSSH(t *testing.T) {
	w := newWorld(t, options{})
	sock := filepath.Join(w.dir, "agent.sock")
	keyring := start(t, w.operator, "ssh-agent", "-D", "-a", sock)
	keyring.waitLog(0, "SSH_AUTH_SOCK")
	ssh := func() (string, error) {
		line := append([]string{"SSH_AUTH_SOCK=" + sock}, w.ctlArgs("ssh", "root@"+kiosk, "echo", "signed")...)
		return w.operator.Output("env", line...)
	}
	w.operator.Run("env", "SSH_AUTH_SOCK="+sock, "ssh-add", "-q", w.sshKey)
	out, err := ssh()
	if err != nil || !strings.Contains(out, "signed") {
		t.Fatalf("boothctl ssh printed %q: %v", out, err)
	}
	// Somebody else answers on the kiosk's port.
	w.sshd.kill()
	other := filepath.Join(w.dir, "other_host_key")
	w.kiosk.Run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other)
	w.write(filepath.Join(w.dir, "sshd_config"), strings.ReplaceAll(w.read(filepath.Join(w.dir, "sshd_config")), "ssh_host_key", "other_host_key"))
	from := w.sshd.log.len()
	w.sshd.run()
	w.sshd.waitLog(from, "Server listening")
	if out, err := ssh(); err == nil || strings.Contains(out, "signed") {
		t.Errorf("another host key was accepted: %q", out)
	} else if !strings.Contains(err.Error(), "verification failed") {
		t.Errorf("ssh failed for another reason: %v", err)
	}
}
