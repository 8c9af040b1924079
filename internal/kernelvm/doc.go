// Package kernelvm runs a package's tests on a Debian kernel of their own, in qemu,
// for what the host's kernel has not or must not be asked for: WireGuard, traffic
// classes, the clock, a reboot.
//
// A test outside boots a machine whose only program is the package's own test
// binary, and judges by how that ends:
//
//	func TestMain(m *testing.M) { kernelvm.Main(m) }
//
//	func TestKernel(t *testing.T) {
//		kernelvm.Run(t, kernelvm.Config{Tests: "^TestGuest", Modules: []string{"wireguard"}})
//	}
//
//	func TestGuestPeers(t *testing.T) { kernelvm.Guest(t); ... }
//
// It needs the packages qemu-system-x86 and linux-image-cloud-amd64, and no root.
// Where they are missing a test is skipped with the reason, or failed where CI is
// set.
package kernelvm
