package bind

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

// How long a receiver waits after an error before it tries again.
const (
	retryFirst = 10 * time.Millisecond
	retryMost  = time.Second
)

// A receiver wraps one of the inner Bind's receive funcs. It belongs to the one
// goroutine of the device that calls it.
type receiver struct {
	bind   *Bind
	fn     conn.ReceiveFunc
	closed chan struct{}
	wait   time.Duration // after the next error
	origin origin

	// The newest look-up, because packets of one batch mostly come from one place.
	version uint64 // of the table then
	addr    netip.AddrPort
	src     *source
}

// receive is a conn.ReceiveFunc.
func (r *receiver) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	n, err := r.fn(bufs, sizes, eps)
	if err != nil {
		return r.failed(err)
	}
	r.wait = 0
	b := r.bind
	if v := b.table.version.Load(); v != r.version {
		r.version, r.addr, r.src = v, netip.AddrPort{}, nil
	}
	var run run
	for i, size := range sizes[:n] {
		k := classify(bufs[i][:size])
		switch k {
		case kindTransport:
			if b.waiting.Load() != 0 {
				b.arrived(k, bufs[i][:size])
			}
		case kindSTUN:
			b.divert(bufs[i][:size], eps[i])
			sizes[i] = 0
			continue
		case kindOther:
			continue
		default:
			if b.arrived(k, bufs[i][:size]) {
				sizes[i] = 0
			}
		}
		if s := r.source(eps[i]); s != nil {
			eps[i] = s.peer.ep
			if s != run.src {
				run.end(b)
				run = runOf(s)
			}
			run.packets++
			run.bytes += size
		}
	}
	run.end(b)
	return n, nil
}

// source looks up where a packet came from; nil is an unknown address.
func (r *receiver) source(ep conn.Endpoint) *source {
	if e, ok := ep.(*conn.StdNetEndpoint); ok && e.AddrPort == r.addr {
		return r.src
	}
	return r.lookUp(ep)
}

func (r *receiver) lookUp(ep conn.Endpoint) *source {
	if addr := r.origin.addrPort(ep); addr != r.addr {
		r.addr, r.src = addr, r.bind.table.find(unmap(addr))
	}
	return r.src
}

// A run is consecutive packets from one source, counted together.
type run struct {
	src            *source
	packets, bytes int
}

func runOf(s *source) run { return run{src: s} }

func (u *run) end(b *Bind) {
	if u.src == nil {
		return
	}
	now, p := b.now(), u.src.peer
	u.src.touch(now, u.packets)
	p.lastRx.Store(int64(now))
	p.rxPackets.Add(uint64(u.packets))
	p.rxBytes.Add(uint64(u.bytes))
}

// failed turns an error into a pause, because the device ends its receiver for
// good at an error that is not temporary, or at ten in a row: one unreachable
// candidate of ICE is enough for the first on Windows.
func (r *receiver) failed(err error) (int, error) {
	select {
	case <-r.closed:
		return 0, net.ErrClosed
	default:
	}
	if errors.Is(err, net.ErrClosed) {
		return 0, err
	}
	if f := r.bind.cfg.OnReceiveError; f != nil {
		f(err)
	}
	r.wait = min(max(2*r.wait, retryFirst), retryMost)
	timer := time.NewTimer(r.wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0, nil
	case <-r.closed:
		return 0, net.ErrClosed
	}
}
