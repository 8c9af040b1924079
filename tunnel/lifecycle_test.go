package tunnel

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boothwire/boothwire/keys"
)

// residue is what a process holds.
type residue struct {
	goroutines, fds int
	heap            uint64
}

func measure(t *testing.T) residue {
	t.Helper()
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r := residue{goroutines: runtime.NumGoroutine(), fds: -1, heap: m.HeapAlloc}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		r.fds = len(fds)
	}
	return r
}

// settled waits until the process holds no more goroutines and fds than before:
// wireguard-go's workers end a moment after its Close.
func settled(t *testing.T, before residue) residue {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		now := measure(t)
		if now.goroutines <= before.goroutines && now.fds <= before.fds || time.Now().After(end) {
			return now
		}
	}
}

// TestCycles brings pairs of tunnels up, uses them and takes them down, and
// compares what the process holds.
func TestCycles(t *testing.T) {
	cycles := 200
	if os.Getenv("BOOTHWIRE_SOAK") == "1" {
		cycles = 1000
	}
	address := serveTCP(t, func(c *net.TCPConn) {
		buf := make([]byte, 16)
		n, _ := c.Read(buf)
		_, _ = c.Write(buf[:n])
	})
	cycle := func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		device, operator := pair(t, keys.TCP(22))
		device.Logger, operator.Logger = nil, nil
		device.Services = map[keys.Port]string{keys.TCP(22): address}
		d, err := Up(ctx, device)
		if err != nil {
			t.Fatal(err)
		}
		o, err := Up(ctx, operator)
		if err != nil {
			t.Fatal(err)
		}
		c, err := o.Dial(ctx, "tcp", ":22")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(o.Close(), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 { // pools and caches fill
		cycle()
	}
	before := measure(t)
	before = settled(t, before)
	for range cycles {
		cycle()
	}
	after := settled(t, before)
	t.Logf("before %+v, after %d cycles %+v", before, cycles, after)
	if after.goroutines > before.goroutines || after.fds > before.fds {
		t.Errorf("before %+v, after %+v", before, after)
		t.Log(goleak.Find())
	}
	// A leak of one packet buffer (64 KiB) a cycle would show ten times over.
	if grown := int64(after.heap) - int64(before.heap); grown > 2<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// TestCancelAtEveryStage holds Up at each stage until its ctx has ended.
func TestCancelAtEveryStage(t *testing.T) {
	for _, stage := range []string{stageConfig, stageTUN, stageWireGuard, stageSocket, stageAdapter, stageStart} {
		for _, given := range []bool{false, true} {
			t.Run(stage, func(t *testing.T) {
				noLeaks(t)
				before := measure(t)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				device, _ := pair(t, keys.TCP(22))
				if given {
					device.Socket = socket(t)
				}
				reached := false
				device.hooks.at = func(ctx context.Context, at string) {
					if at == stage {
						reached = true
						cancel()
						<-ctx.Done()
					}
				}
				tn, err := Up(ctx, device)
				if !errors.Is(err, context.Canceled) || tn != nil {
					t.Errorf("got %v, %v", tn, err)
				}
				if !reached {
					t.Errorf("stage %s never came", stage)
				}
				if after := settled(t, before); after.fds > before.fds {
					t.Errorf("before %+v, after %+v", before, after)
				}
			})
		}
	}
}

// TestCloseAtAnyMoment closes tunnels that are being used, at moments spread
// over their first milliseconds.
func TestCloseAtAnyMoment(t *testing.T) {
	noLeaks(t)
	before := measure(t)
	for i := range 60 {
		device, operator := pair(t, keys.TCP(22))
		device.Logger, operator.Logger = nil, nil
		d, o := up(t, device), up(t, operator)
		var work sync.WaitGroup
		ctx := testContext(t)
		work.Go(func() {
			if err := o.Ready(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("ready: %v", err)
			}
		})
		work.Go(func() {
			if c, err := o.Dial(ctx, "tcp", ":22"); err == nil {
				_ = c.Close()
			}
		})
		work.Go(func() {
			for range d.Events(ctx) {
			}
		})
		work.Go(func() { _ = d.Update(ctx, device) })
		time.Sleep(time.Duration(i) * 300 * time.Microsecond)
		for range 2 {
			work.Go(func() { _ = o.Close() })
			work.Go(func() { _ = d.Close() })
		}
		work.Wait()
		if s := o.Status(); s.State != Disconnected || o.Err() != nil {
			t.Errorf("after close: %+v, %v", s, o.Err())
		}
	}
	if after := settled(t, before); after.fds > before.fds {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

func TestAfterClose(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t)
	d, o := up(t, device), up(t, operator)
	_ = d.Close()
	_ = o.Close()
	ctx := testContext(t)
	if err := o.Ready(ctx); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ready: %v", err)
	}
	if _, err := o.Dial(ctx, "tcp", ":22"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial: %v", err)
	}
	if _, err := d.Listen(ctx, "tcp", ":22"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listen: %v", err)
	}
	if err := d.Update(ctx, device); !errors.Is(err, net.ErrClosed) {
		t.Errorf("update: %v", err)
	}
	var last Event
	for e := range d.Events(ctx) {
		last = e
	}
	if last.Kind != EventClosed || last.Err != nil {
		t.Errorf("last event %+v", last)
	}
}
