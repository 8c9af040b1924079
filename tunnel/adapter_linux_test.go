package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/keys"
)

// inside is set in the process that TestAdapter starts in a namespace.
const inside = "BOOTHWIRE_TEST_INSIDE"

// TestAdapter runs the tests called TestInside in a namespace of their own, one
// process for all of them, because a tunnel's goroutines need the whole process
// to be there.
func TestAdapter(t *testing.T) {
	lab := netlab.New(t)
	host := lab.Host("kiosk")
	lab.Start()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := host.Command(ctx, exe, "-test.run", "^TestInside", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), inside+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	if n := strings.Count(string(out), "--- PASS: TestInside"); n < 4 {
		t.Errorf("%d tests ran in the namespace", n)
	}
}

// within skips a test that is not in the namespace, and checks at its end that
// interfaces, addresses, routes and rules are those of before.
func within(t *testing.T) {
	t.Helper()
	if os.Getenv(inside) == "" {
		t.Skip("run by TestAdapter, in a namespace")
	}
	noLeaks(t)
	before := hostState(t)
	t.Cleanup(func() {
		if after := hostState(t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

func hostState(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, args := range [][]string{
		{"-o", "link"}, {"-o", "addr"}, {"route", "show", "table", "all"},
		{"-6", "route", "show", "table", "all"}, {"rule"}, {"neigh"},
	} {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
		all.Write(out)
	}
	return all.String()
}

func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
	return string(out)
}

// TestInsideDevice serves a device's real port 22 to a driverless operator.
func TestInsideDevice(t *testing.T) {
	within(t)
	device, operator := pair(t, keys.TCP(22))
	device.Mode = Adapter
	device.Lifetime = time.Hour
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	l, err := d.Listen(testContext(t), "tcp", ":22")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	if err := bounce(t, o)(strings.Repeat("through the adapter ", 10000)); err != nil {
		t.Error(err)
	}
	s := d.Status()
	if s.Mode != Adapter || s.Name != "bw0" {
		t.Errorf("status %+v", s)
	}
	routes := ip(t, "-4", "route")
	if want := operatorAddr.String() + " dev bw0"; !strings.Contains(routes, want) || strings.Count(routes, "\n") != 1 {
		t.Errorf("routes:\n%s\nwant one, %s", routes, want)
	}
	// An echo is answered though the host would not.
	if err := os.WriteFile("/proc/sys/net/ipv4/icmp_echo_ignore_all", []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	proved := s.Proved
	for end := time.Now().Add(patience); !o.Status().Proved.After(proved); time.Sleep(10 * time.Millisecond) {
		_ = o.do(testContext(t), func() error { o.far.dog.Reset(); return nil })
		if time.Now().After(end) {
			t.Fatal("no echo came back from a host that answers none")
		}
	}
	// What the host itself sends to an operator stays here.
	dropped := d.Status().Dropped
	if c, err := net.DialTimeout("tcp", operatorAddr.String()+":80", 200*time.Millisecond); err == nil {
		_ = c.Close()
		t.Error("the device's host reached the operator")
	}
	until(t, "what the host sent is dropped", func() bool { return d.Status().Dropped > dropped }, d)
	_ = d.Close()
	if _, err := net.InterfaceByName("bw0"); err == nil {
		t.Error("bw0 is still there")
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener is still there")
	}
}

// TestInsideOperator reaches a driverless device by the host's own sockets.
func TestInsideOperator(t *testing.T) {
	within(t)
	device, operator := pair(t, keys.TCP(22))
	withEcho(t, device)
	operator.Mode, operator.Name = Adapter, "booth0"
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	c, err := net.DialTimeout("tcp", deviceAddr.String()+":22", patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if err := bounce(t, o)("by Dial"); err != nil {
		t.Error(err)
	}
	if name := o.Status().Name; name != "booth0" {
		t.Errorf("name %q", name)
	}
}

// TestInsideOverlap refuses addresses that the host has, or has a route to.
func TestInsideOverlap(t *testing.T) {
	within(t)
	for _, tt := range []struct {
		name   string
		before []string
		after  []string
	}{
		{"own address", []string{"addr", "add", "10.166.0.5/32", "dev", "lo"}, []string{"addr", "del", "10.166.0.5/32", "dev", "lo"}},
		{"own network", []string{"addr", "add", "10.166.255.1/24", "dev", "lo"}, []string{"addr", "del", "10.166.255.1/24", "dev", "lo"}},
		{"route", []string{"route", "add", "10.166.0.0/16", "dev", "lo"}, []string{"route", "del", "10.166.0.0/16", "dev", "lo"}},
	} {
		ip(t, tt.before...)
		device, _ := pair(t, keys.TCP(22))
		device.Mode = Adapter
		tn, err := Up(testContext(t), device)
		var driver *DriverError
		if !errors.As(err, &driver) || driver.Op != "overlap" {
			t.Errorf("%s: got %v, %v", tt.name, tn, err)
		}
		// Auto goes on without an adapter.
		device.Mode = Auto
		if tn, err = Up(testContext(t), device); err != nil || tn.Status().Mode != Driverless {
			t.Errorf("%s: auto: %v", tt.name, err)
		} else {
			_ = tn.Close()
		}
		ip(t, tt.after...)
	}
	// A default route is everybody's and no overlap.
	ip(t, "route", "add", "default", "dev", "lo")
	device, _ := pair(t, keys.TCP(22))
	device.Mode = Auto
	tn := up(t, device)
	if mode := tn.Status().Mode; mode != Adapter {
		t.Errorf("auto beside a default route is %q", mode)
	}
	_ = tn.Close()
	ip(t, "route", "del", "default", "dev", "lo")
}

// TestInsideCancel ends Up at every stage and looks for what is left.
func TestInsideCancel(t *testing.T) {
	within(t)
	for _, stage := range []string{stageConfig, stageTUN, stageWireGuard, stageSocket, stageAdapter, stageStart} {
		before := hostState(t)
		ctx, cancel := context.WithCancel(context.Background())
		device, _ := pair(t, keys.TCP(22))
		device.Mode = Adapter
		device.hooks.at = func(ctx context.Context, at string) {
			if at == stage {
				cancel()
				<-ctx.Done()
			}
		}
		if tn, err := Up(ctx, device); !errors.Is(err, context.Canceled) || tn != nil {
			t.Errorf("%s: got %v, %v", stage, tn, err)
		}
		cancel()
		if after := hostState(t); after != before {
			t.Errorf("%s: before:\n%s\nafter:\n%s", stage, before, after)
		}
	}
}

// TestInsideUpdate follows the operators with routes, and an adapter that is
// taken away ends the tunnel with an error.
func TestInsideUpdate(t *testing.T) {
	within(t)
	device, operator := pair(t, keys.TCP(22))
	device.Mode = Adapter
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	second := netip.MustParseAddr("10.166.255.10")
	more := *device
	more.Far.Allowed = []netip.Addr{operatorAddr, second}
	for _, c := range []*Config{&more, device} {
		if err := d.Update(testContext(t), c); err != nil {
			t.Fatal(err)
		}
		routes := ip(t, "-4", "route")
		if got := strings.Contains(routes, second.String()); got != (c == &more) {
			t.Errorf("routes:\n%s", routes)
		}
	}
	ip(t, "link", "del", d.Status().Name)
	select {
	case <-d.Done():
	case <-time.After(patience):
		t.Fatal("still up")
	}
	var driver *DriverError
	if !errors.As(d.Err(), &driver) || d.Status().State != Failed {
		t.Errorf("got %v, %+v", d.Err(), d.Status())
	}
}
