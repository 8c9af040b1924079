package kernel

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/boothwire/boothwire/gateway/internal/planetest"
	"github.com/boothwire/boothwire/internal/kernelvm"
	"github.com/boothwire/boothwire/internal/netlab"
)

// envUAPI is set for the process of TestUAPI that lives in a namespace.
const envUAPI = "BOOTHWIRE_KERNEL_UAPI"

// The host's kernel, with wireguard-go where its WireGuard would be: the plane
// reaches it by its socket, through the same library.
func TestUAPI(t *testing.T) {
	if kernelvm.Inside() {
		t.Skip("runs outside of the guest")
	}
	if os.Getenv(envUAPI) == "" {
		inNamespace(t, envUAPI)
		return
	}
	s := planetest.Subject{Open: openUAPI, Gone: gone, NoFlows: true}
	planetest.Run(t, s)
	planetest.Rates(t, s)
}

// inNamespace runs the calling test once more, in a namespace of its own.
func inNamespace(t *testing.T, env string) {
	t.Helper()
	lab := netlab.New(t)
	cmd := lab.Host("node").Command(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), env+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// overUAPI is a plane whose two interfaces are wireguard-go's.
type overUAPI struct {
	*Plane
	ends []*socketed
}

// socketed is one interface, with the socket that configures it.
type socketed struct {
	device *device.Device
	socket net.Listener
	served chan struct{}
}

func openUAPI(t testing.TB, cfg planetest.Config) planetest.Plane {
	t.Helper()
	return over(t, Config{
		PrivateKey: cfg.PrivateKey, Pool: netip.MustParsePrefix("10.166.0.0/16"), Proof: cfg.Proof, MTU: cfg.MTU, Uplink: cfg.Uplink,
		Patience: cfg.Patience, Handshake: cfg.Handshake, Proved: cfg.Proved,
	})
}

// over opens a plane over two interfaces of wireguard-go.
func over(t testing.TB, c Config) *overUAPI {
	t.Helper()
	c.found, c.Devices, c.Operators = true, fmt.Sprintf("bwd%d", os.Getpid()), fmt.Sprintf("bwo%d", os.Getpid())
	u := &overUAPI{}
	for _, name := range []string{c.Devices, c.Operators} {
		u.ends = append(u.ends, newSocketed(t, name))
	}
	var err error
	if u.Plane, err = Open(c); err != nil {
		t.Fatal(err)
	}
	return u
}

// overFor is over for the node with that key, until the test ends.
func overFor(t *testing.T, node keyPair) *Plane {
	t.Helper()
	u := over(t, Config{PrivateKey: node.private, Pool: netip.MustParsePrefix("10.166.0.0/16"), Proof: netip.MustParseAddr("10.166.255.1")})
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	return u.Plane
}

func (u *overUAPI) Close() error {
	err := u.Plane.Close()
	for _, s := range u.ends {
		s.socket.Close()
		<-s.served
		s.device.Close()
	}
	u.ends = nil
	return err
}

func newSocketed(t testing.TB, name string) *socketed {
	t.Helper()
	d := device.NewDevice(newTUN(t, name), conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	if err := d.Up(); err != nil { // so that it has a port at once
		t.Fatal(err)
	}
	f, err := ipc.UAPIOpen(name)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ipc.UAPIListen(name, f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	s := &socketed{device: d, socket: l, served: make(chan struct{})}
	go func() {
		defer close(s.served)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go d.IpcHandle(c)
		}
	}()
	return s
}

// newTUN makes an interface without offload, so that packets stay what they are.
func newTUN(t testing.TB, name string) tun.Device {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		t.Fatal(err)
	}
	d, _, err := tun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
