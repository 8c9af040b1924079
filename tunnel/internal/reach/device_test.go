package reach

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/internal/packet"
)

const offset = 16

// fileTUN is a TUN behind a file, as the system's are: a packet is one write to
// a pipe.
type fileTUN struct {
	tun.Device
	r, w  *os.File
	wrote chan []byte
}

func newFileTUN(t *testing.T) *fileTUN {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return &fileTUN{r: r, w: w, wrote: make(chan []byte, 10)}
}

func (f *fileTUN) File() *os.File { return f.r }

func (f *fileTUN) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n, err := f.r.Read(bufs[0][offset:])
	if err != nil {
		return 0, err
	}
	sizes[0] = n
	return 1, nil
}

func (f *fileTUN) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		f.wrote <- bytes.Clone(b[offset:])
	}
	return len(bufs), nil
}

func (f *fileTUN) BatchSize() int { return 1 }
func (f *fileTUN) Close() error   { return errors.Join(f.r.Close(), f.w.Close()) }

// kinds are the two ways to interrupt a device that has no Wake: each comes with
// what sends a packet out of the host.
func kinds(t *testing.T) map[string]func() (tun.Device, func([]byte)) {
	return map[string]func() (tun.Device, func([]byte)){
		"file": func() (tun.Device, func([]byte)) {
			f := newFileTUN(t)
			return f, func(b []byte) { _, _ = f.w.Write(b) }
		},
		"pump": func() (tun.Device, func([]byte)) {
			c := tuntest.NewChannelTUN()
			return c.TUN(), func(b []byte) { c.Outbound <- b }
		},
	}
}

// reader reads a device as WireGuard does.
func reader(d *Device) <-chan []byte {
	out := make(chan []byte, 1000)
	go func() {
		defer close(out)
		bufs, sizes := [][]byte{make([]byte, offset+65535)}, make([]int, 1)
		for {
			n, err := d.Read(bufs, sizes, offset)
			if err != nil {
				return
			}
			if n == 1 && sizes[0] > 0 {
				out <- bytes.Clone(bufs[0][offset : offset+sizes[0]])
			}
		}
	}()
	return out
}

func next(t *testing.T, out <-chan []byte) []byte {
	t.Helper()
	select {
	case b := <-out:
		return b
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		return nil
	}
}

func TestDeviceRead(t *testing.T) {
	for name, make := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			defer leaktest.None(t, goleak.IgnoreCurrent())
			inner, send := make()
			d := NewDevice(inner, NewFilter(operatorRules(), testEcho), time.Now())
			out := reader(d)
			mine := echo(operator, stranger, 1, []byte("not judged"))
			data := tcp(operator, 5000, own, 22, syn)
			for range 200 { // sends race with a waiting Read
				if !d.Send(mine) {
					t.Fatal("queue full")
				}
				if got := next(t, out); !bytes.Equal(got, mine) {
					t.Fatalf("got % x", got)
				}
			}
			d.ArmOut()
			send(tcp(operator, 5000, stranger, 22, syn)) // dropped
			for d.Filter().Stats().DroppedOut == 0 {     // a pipe would join it with the next
				time.Sleep(time.Millisecond)
			}
			send(data)
			if got := next(t, out); !bytes.Equal(got, data) {
				t.Fatalf("got % x", got)
			}
			<-d.Moved()
			send(data)
			next(t, out)
			select {
			case <-d.Moved():
				t.Error("told twice after one Arm")
			default:
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			for range out {
			}
		})
	}
}

func TestDeviceWrite(t *testing.T) {
	defer leaktest.None(t, goleak.IgnoreCurrent())
	inner := newFileTUN(t)
	d := NewDevice(inner, NewFilter(deviceRules(), testEcho), time.Now())
	out := reader(d)
	d.ArmIn()
	request := echo(operator, own, 7, []byte("data"))
	first, second := tcp(operator, 5000, own, 22, syn), udp(operator, 1, own, 3389)
	var bufs [][]byte
	for _, b := range [][]byte{request, tcp(stranger, 1, own, 22, syn), first, reply(node, own, testEcho.ID, testEcho.Token[:]), second} {
		bufs = append(bufs, append(make([]byte, offset), b...))
	}
	if _, err := d.Write(bufs, offset); err != nil {
		t.Fatal(err)
	}
	<-d.Moved()
	for _, want := range [][]byte{first, second} {
		if got := <-inner.wrote; !bytes.Equal(got, want) {
			t.Errorf("got % x, want % x", got, want)
		}
	}
	if p := <-d.Filter().Proofs(); p.From != node {
		t.Errorf("proof from %v", p.From)
	}
	got := next(t, out)
	var p packet.Info
	if !packet.Parse(got, &p) || !p.IsEchoReply() || p.Src != own || p.Dst != operator || p.ID != 7 || !packet.EchoValid(got, &p) {
		t.Errorf("answered % x", got)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	for range out {
	}
	if len(inner.wrote) != 0 {
		t.Error("more was written than passed")
	}
}

// TestEchoFlood fills the queue without a reader: In neither blocks nor grows.
func TestEchoFlood(t *testing.T) {
	inner := newFileTUN(t)
	d := NewDevice(inner, NewFilter(deviceRules(), testEcho), time.Now())
	defer d.Close()
	for range 10 * queueLen {
		b := append(make([]byte, offset), echo(operator, own, 7, nil)...)
		if _, err := d.Write([][]byte{b}, offset); err != nil {
			t.Fatal(err)
		}
	}
	if d.queue.n != queueLen {
		t.Errorf("%d answers wait, want %d", d.queue.n, queueLen)
	}
	if d.Send(nil) {
		t.Error("a full queue took one more")
	}
}
