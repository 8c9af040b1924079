package kernelvm

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/boothwire/boothwire/internal/leaktest"
)

// In the guest.
const (
	fileProgram = "/test"    // the test binary; the kernel starts it as /init
	fileArgs    = "/args"    // its arguments
	fileModules = "/modules" // to load, in order
	guestEnv    = "BOOTHWIRE_KERNELVM"
	done        = "@@DONE" // begins the line that says how it ended
)

// Main is a package's TestMain: as the guest's first process it is the guest's
// system, elsewhere leaktest.Main.
func Main(m *testing.M) {
	if os.Getpid() == 1 && filepath.Clean(os.Args[0]) == "/init" {
		boot()
	}
	leaktest.Main(m)
}

// Inside reports whether this process runs in a guest.
func Inside() bool { return os.Getenv(guestEnv) != "" }

// Guest skips a test that is for the guest only.
func Guest(t testing.TB) {
	t.Helper()
	if !Inside() {
		t.Skip("runs in the guest of this package's kernelvm test")
	}
}
