//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/internal/netlab"
)

// TestUpWithSMB mounts nothing but asks Samba for a file, through boothctl up's
// network interface, as any SMB client would.
func TestUpWithSMB(t *testing.T) {
	netlab.Require(t, "smbd", "smbclient")
	w := newWorld(t, options{})
	share := filepath.Join(w.dir, "share")
	os.MkdirAll(share, 0o777)
	os.Chmod(share, 0o777)
	sum := w.random(filepath.Join(share, "photo.raw"), 8<<20)
	os.Chmod(filepath.Join(share, "photo.raw"), 0o644)
	state := filepath.Join(w.dir, "samba")
	os.MkdirAll(state, 0o755)
	conf := filepath.Join(w.dir, "smb.conf")
	w.write(conf, fmt.Sprintf(`[global]
interfaces = 127.0.0.1
bind interfaces only = yes
smb ports = 445
disable netbios = yes
map to guest = bad user
private dir = %[1]s
state directory = %[1]s
cache directory = %[1]s
lock directory = %[1]s
pid directory = %[1]s
ncalrpc dir = %[1]s/rpc
log file = %[1]s/log
[photos]
path = %[2]s
guest ok = yes
read only = no
force user = root
`, state, share))
	smbd := start(t, w.kiosk, "smbd", "--foreground", "--no-process-group", "--debug-stdout", "-s", conf)
	smbd.quiet = true
	eventually(t, "Samba listens", func() error {
		if out := w.kiosk.Run("ss", "-Hltn"); !strings.Contains(out, "127.0.0.1:445") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})

	before := w.operator.Snapshot(nil)
	up := start(t, w.operator, program(t, "boothctl"), w.ctlArgs("up", kiosk, "--port", "445", "--json")[1:]...)
	up.waitLog(0, `"address"`)
	var shown struct{ Address string }
	text := up.log.String()
	if err := json.NewDecoder(strings.NewReader(text[strings.Index(text, "\n{")+1:])).Decode(&shown); err != nil || shown.Address == "" {
		t.Fatalf("boothctl up printed %v: %s", err, text)
	}
	routes := w.operator.Run("ip", "route")
	if strings.Count(routes, "bw0") != 1 || !strings.Contains(routes, shown.Address+" dev bw0") {
		t.Errorf("want one route, a /32 to %s:\n%s", shown.Address, routes)
	}
	got := filepath.Join(w.dir, "got.raw")
	w.operator.Run("smbclient", "-N", "//"+shown.Address+"/photos", "-c", "get photo.raw "+got+"; put "+got+" copy.raw")
	if s := w.sum(got); s != sum {
		t.Errorf("the file that came by SMB has SHA-256 %x, want %x", s, sum)
	}
	if s := w.sum(filepath.Join(share, "copy.raw")); s != sum {
		t.Errorf("the file that went by SMB has SHA-256 %x, want %x", s, sum)
	}
	up.stop()
	w.over()
	w.hostAsBefore(w.operator, before)
}
