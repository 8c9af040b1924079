package kernelvm

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { Main(m) }

func TestKernel(t *testing.T) {
	Run(t, Config{Tests: "^TestGuest", Modules: []string{"wireguard", "ext4"}})
}

func TestGuest(t *testing.T) {
	Guest(t)
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	t.Log(unix.ByteSliceToString(name.Release[:]))
	list, err := os.ReadFile("/proc/modules")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(list), "wireguard ") {
		t.Errorf("WireGuard is not loaded: %s", list)
	}
}
