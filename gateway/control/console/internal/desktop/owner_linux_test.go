package desktop

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Where guacd is on this machine, another user's process is not taken for it, though it
// comes from the same address.
func TestOneShotIsOneUsers(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if os.Geteuid() != 0 || err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root and bash")
		}
		t.Skip("needs root and bash, to be another user")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dialled := make(chan bool, 1)
	once, err := forwardOnce(ctx, localhost, fromPeer(comesFrom(t, "127.0.0.1")), func(context.Context) (net.Conn, error) {
		dialled <- true
		return nil, net.ErrClosed
	})
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("exec 3<>/dev/tcp/%v/%d && cat <&3 && echo cut", once.Address.Addr(), once.Address.Port())
	other := exec.CommandContext(ctx, bash, "-c", script)
	other.Dir = "/"
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := other.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "cut" {
		t.Errorf("the other user's: %q, %v", out, err)
	}
	select {
	case <-dialled:
		t.Fatal("the device was dialled for it")
	default:
	}
	mine := knocks(t, once.Address, nil)
	<-dialled
	mine.Close()
	once.done.Wait()
}

const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:D431 06 00000000:00000000 00:00000000 00000000     0        0 0 3 0
   2: 0100007F:D431 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0 20 4 30 10 -1
   3: 0000000000000000FFFF00000100007F:1F91 0000000000000000FFFF00000100007F:D432 01 00000000:00000000 00:00000000 00000000   101        0 3 1 0
   4: B80D01200000000000000000010000 00:1 01
`

func TestOwnerIn(t *testing.T) {
	for _, tt := range []struct {
		local, remote string
		uid           uint32
		ok            bool
	}{
		{"127.0.0.1:54321", "127.0.0.1:8080", 1000, true},
		{"127.0.0.1:8081", "127.0.0.1:54322", 101, true},
		{"127.0.0.1:8080", "127.0.0.1:54321", 0, false}, // it has ended
		{"127.0.0.1:1", "127.0.0.1:8080", 0, false},
	} {
		if uid, ok := ownerIn(strings.NewReader(table), netip.MustParseAddrPort(tt.local), netip.MustParseAddrPort(tt.remote)); uid != tt.uid || ok != tt.ok {
			t.Errorf("%s to %s: %d, %v", tt.local, tt.remote, uid, ok)
		}
	}
	c := comesFrom(t, "127.0.0.1")
	if uid, ok := ownerOf(c); !ok || int(uid) != os.Geteuid() {
		t.Errorf("this process is %d, %v", uid, ok)
	}
}

func FuzzTableAddress(f *testing.F) {
	f.Add("0100007F:1F90")
	f.Add("0000000000000000FFFF00000100007F:1F91")
	f.Fuzz(func(t *testing.T, text string) {
		if a, ok := tableAddress(text); ok && (!a.IsValid() || a.Addr().Is4In6()) {
			t.Errorf("%q is %v", text, a)
		}
	})
}
