//go:build linux

package planebench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

const (
	uploadPort = 445
	echoPort   = 22
	typists    = 10                    // sessions that type beside their upload
	delay      = 10 * time.Millisecond // of what each end sends: the network between
	keystroke  = 50 * time.Millisecond
)

// ends are all devices, or all operators, with the TCP of their namespace's kernel: one
// TUN has all of their addresses, and each packet goes into the tunnel of its source.
type ends struct {
	kind    string
	nic     tun.Device
	clients []*muxTUN
	devices []*device.Device
	late    chan delayed
	closed  chan struct{}

	mu     sync.Mutex
	flows  []*flow
	echoes []time.Duration
}

type delayed struct {
	due    time.Time
	to     *muxTUN
	packet []byte
}

// flow is one upload.
type flow struct {
	session int
	conn    *net.TCPConn
	bytes   atomic.Int64
}

// A flowReport is how far an upload has come.
type flowReport struct {
	Session int
	Bytes   int64
	Resent  uint32 // segments
}

func (r *role) ends() (worker, error) {
	const name = "ends0"
	nic, err := tun.CreateTUN(name, mtu)
	if err != nil {
		return nil, err
	}
	kind := map[string]string{"devices": "device", "operators": "operator"}[r.Kind]
	e := &ends{kind: kind, nic: nic, late: make(chan delayed, 1<<16), closed: make(chan struct{})}
	ip := func(args ...string) {
		if out, failed := exec.Command("ip", args...).CombinedOutput(); failed != nil && err == nil {
			err = fmt.Errorf("ip %q: %w: %s", args, failed, out)
		}
	}
	for i := range r.Sessions {
		ip("addr", "add", addressOf(kind, i).String()+"/32", "dev", name)
	}
	ip("link", "set", name, "up")
	ip("route", "add", "10.166.0.0/16", "dev", name, "congctl", "cubic")
	for i := 0; i < r.Sessions && err == nil; i++ {
		m := &muxTUN{nic: nic, in: make(chan []byte, 1024), events: make(chan tun.Event), closed: make(chan struct{})}
		var d *device.Device
		d, err = r.client(m, kind, i)
		e.clients, e.devices = append(e.clients, m), append(e.devices, d)
	}
	if err == nil && kind == "device" {
		err = e.listen()
	}
	if err != nil {
		e.stop()
		return nil, err
	}
	go e.read()
	go e.deliver()
	return e, nil
}

// read takes packets from the kernel; they are on their way for a while.
func (e *ends) read() {
	const offset = device.MessageTransportHeaderSize
	bufs, sizes := make([][]byte, e.nic.BatchSize()), make([]int, e.nic.BatchSize())
	for i := range bufs {
		bufs[i] = make([]byte, 65535+offset)
	}
	first := addressOf(e.kind, 0).As4()
	for {
		n, err := e.nic.Read(bufs, sizes, offset)
		if err != nil && !errors.Is(err, tun.ErrTooManySegments) {
			return
		}
		due := time.Now().Add(delay)
		for i := range n {
			b := bufs[i][offset:][:sizes[i]]
			if len(b) < 20 || b[0]>>4 != 4 {
				continue
			}
			no := int(binary.BigEndian.Uint16(b[14:])) - int(binary.BigEndian.Uint16(first[2:]))
			if no < 0 || no >= len(e.clients) {
				continue
			}
			select {
			case e.late <- delayed{due, e.clients[no], append([]byte(nil), b...)}:
			default:
			}
		}
	}
}

func (e *ends) deliver() {
	for {
		select {
		case <-e.closed:
			return
		case d := <-e.late:
			time.Sleep(time.Until(d.due))
			select {
			case d.to.in <- d.packet:
			default:
			}
		}
	}
}

// listen is the devices' side: an upload for whoever asks for one, and an echo.
func (e *ends) listen() error {
	upload, err := net.Listen("tcp4", fmt.Sprintf(":%d", uploadPort))
	if err != nil {
		return err
	}
	echo, err := net.Listen("tcp4", fmt.Sprintf(":%d", echoPort))
	if err != nil {
		return err
	}
	go accept(upload, func(c *net.TCPConn) {
		own := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr()
		f := &flow{session: int(binary.BigEndian.Uint16(own.AsSlice()[2:])) - 64<<8, conn: c}
		e.mu.Lock()
		e.flows = append(e.flows, f)
		e.mu.Unlock()
		for buf := make([]byte, 64<<10); ; {
			n, err := c.Write(buf)
			f.bytes.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	go accept(echo, func(c *net.TCPConn) { io.Copy(c, c) })
	return nil
}

func accept(l net.Listener, f func(*net.TCPConn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go f(c.(*net.TCPConn))
	}
}

// report does what the command says, on the operators' side: type, and fetch uploads.
func (e *ends) report(command string, r *report) error {
	switch command {
	case "type":
		for i := range min(typists, len(e.clients)) {
			c, err := e.dial(i, echoPort)
			if err != nil {
				return err
			}
			go e.typing(c)
		}
	case "fetch":
		for i := range e.clients {
			c, err := e.dial(i, uploadPort)
			if err != nil {
				return err
			}
			f := &flow{session: i, conn: c}
			e.mu.Lock()
			e.flows = append(e.flows, f)
			e.mu.Unlock()
			go func() {
				for buf := make([]byte, 64<<10); ; {
					n, err := c.Read(buf)
					f.bytes.Add(int64(n))
					if err != nil {
						return
					}
				}
			}()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.flows {
		r.Flows = append(r.Flows, flowReport{f.session, f.bytes.Load(), resent(f.conn)})
	}
	r.Echoes, e.echoes = e.echoes, nil
	return nil
}

func (e *ends) dial(i int, port uint16) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: time.Minute, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addressOf("operator", i), 0))}
	c, err := d.Dial("tcp4", netip.AddrPortFrom(addressOf("device", i), port).String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// typing sends a key now and then, and times its echo.
func (e *ends) typing(c net.Conn) {
	for b := make([]byte, 1); ; time.Sleep(keystroke) {
		start := time.Now()
		if _, err := c.Write(b); err != nil {
			return
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		e.mu.Lock()
		e.echoes = append(e.echoes, time.Since(start))
		e.mu.Unlock()
	}
}

// resent is how many segments a connection has sent again.
func resent(c *net.TCPConn) (n uint32) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Total_retrans
		}
	})
	return n
}

func (e *ends) stop() {
	close(e.closed)
	for _, d := range e.devices {
		d.Close()
	}
	e.nic.Close()
}

// muxTUN is one end's share of the TUN.
type muxTUN struct {
	nic    tun.Device
	in     chan []byte
	events chan tun.Event
	closed chan struct{}
	once   sync.Once
}

func (t *muxTUN) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case b := <-t.in:
		sizes[0] = copy(bufs[0][offset:], b)
	case <-t.closed:
		return 0, os.ErrClosed
	}
	for n := 1; n < len(bufs); n++ {
		select {
		case b := <-t.in:
			sizes[n] = copy(bufs[n][offset:], b)
		default:
			return n, nil
		}
	}
	return len(bufs), nil
}

func (t *muxTUN) Write(bufs [][]byte, offset int) (int, error) { return t.nic.Write(bufs, offset) }

func (t *muxTUN) Close() error {
	t.once.Do(func() {
		close(t.closed)
		close(t.events)
	})
	return nil
}

func (t *muxTUN) File() *os.File           { return nil }
func (t *muxTUN) MTU() (int, error)        { return mtu, nil }
func (t *muxTUN) Name() (string, error)    { return "mux", nil }
func (t *muxTUN) Events() <-chan tun.Event { return t.events }
func (t *muxTUN) BatchSize() int           { return conn.IdealBatchSize }
