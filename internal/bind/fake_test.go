package bind

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

// An arrival is what the fake network brings.
type arrival struct {
	data []byte
	from string
}

// A sent is what left for the fake network.
type sent struct {
	data []byte
	to   netip.AddrPort
}

// fakeInner is a conn.Bind without a socket. Its clock is the test's.
type fakeInner struct {
	batches chan []arrival
	errs    chan error
	batch   int
	sendErr func(n int, to netip.AddrPort) error

	mu     sync.Mutex
	sent   []sent
	quit   chan struct{}
	closes int
}

func newFake() *fakeInner {
	return &fakeInner{batches: make(chan []arrival, 16), errs: make(chan error, 16), batch: 8}
}

func (f *fakeInner) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.quit = make(chan struct{})
	quit := f.quit
	return []conn.ReceiveFunc{func(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		select {
		case batch := <-f.batches:
			for i, a := range batch {
				sizes[i] = copy(bufs[i], a.data)
				eps[i] = &conn.StdNetEndpoint{AddrPort: netip.MustParseAddrPort(a.from)}
			}
			return len(batch), nil
		case err := <-f.errs:
			return 0, err
		case <-quit:
			return 0, net.ErrClosed
		}
	}}, max(port, 1), nil
}

func (f *fakeInner) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.quit == nil {
		return errors.New("closed twice")
	}
	f.closes++
	close(f.quit)
	f.quit = nil
	return nil
}

func (f *fakeInner) SetMark(uint32) error { return nil }
func (f *fakeInner) BatchSize() int       { return f.batch }

func (f *fakeInner) Send(bufs [][]byte, ep conn.Endpoint) error {
	to := ep.(*conn.StdNetEndpoint).AddrPort
	if f.sendErr != nil {
		if err := f.sendErr(len(bufs), to); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range bufs {
		f.sent = append(f.sent, sent{append([]byte(nil), b...), to})
	}
	return nil
}

func (f *fakeInner) ParseEndpoint(s string) (conn.Endpoint, error) {
	addr, err := netip.ParseAddrPort(s)
	return &conn.StdNetEndpoint{AddrPort: addr}, err
}

// take returns what was sent since the last take.
func (f *fakeInner) take() []sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sent
	f.sent = nil
	return s
}

// A reader calls a receive func as a device does.
type reader struct {
	fn    conn.ReceiveFunc
	bufs  [][]byte
	sizes []int
	eps   []conn.Endpoint
}

func newReader(fn conn.ReceiveFunc, batch int) *reader {
	r := &reader{fn: fn, sizes: make([]int, batch), eps: make([]conn.Endpoint, batch)}
	for range batch {
		r.bufs = append(r.bufs, make([]byte, device.MaxMessageSize))
	}
	return r
}

func (r *reader) read() (int, error) { return r.fn(r.bufs, r.sizes, r.eps) }

// opened returns an open Bind over a fake, and its reader.
func opened(t *testing.T, cfg Config) (*Bind, *fakeInner, *reader) {
	t.Helper()
	f := newFake()
	b := New(f, cfg)
	fns, _, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, f, newReader(fns[0], f.batch)
}

// WireGuard's messages, of which only types, sizes and indices are real.

func initiation(sender uint32) []byte {
	m := make([]byte, device.MessageInitiationSize)
	m[0] = device.MessageInitiationType
	binary.LittleEndian.PutUint32(m[4:], sender)
	return m
}

func response(sender, receiver uint32) []byte {
	m := make([]byte, device.MessageResponseSize)
	m[0] = device.MessageResponseType
	binary.LittleEndian.PutUint32(m[4:], sender)
	binary.LittleEndian.PutUint32(m[8:], receiver)
	return m
}

func cookie(receiver uint32) []byte {
	m := make([]byte, device.MessageCookieReplySize)
	m[0] = device.MessageCookieReplyType
	binary.LittleEndian.PutUint32(m[4:], receiver)
	return m
}

func transport(receiver uint32, n byte) []byte {
	m := make([]byte, device.MessageTransportSize)
	m[0] = device.MessageTransportType
	binary.LittleEndian.PutUint32(m[4:], receiver)
	m[8] = n
	return m
}

// stun is a binding request (RFC 8489) that carries n in its transaction.
func stun(n byte) []byte {
	m := make([]byte, 20)
	m[1] = 1
	binary.BigEndian.PutUint32(m[4:], stunCookie)
	m[8] = n
	return m
}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

const (
	addrA = "192.0.2.1:1000"
	addrB = "192.0.2.2:2000"
	addrC = "192.0.2.3:3000"
)

// long is far above what anything here takes; no test passes because of it.
const long = 30 * time.Second
