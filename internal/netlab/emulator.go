package netlab

import (
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// An emulator forwards IP packets between two TUN devices.
type emulator struct {
	ends    [2]*os.File
	setting atomic.Pointer[Emulation]
	wg      sync.WaitGroup
	quit    chan struct{}
}

func newEmulator(a, b *Interface, e Emulation) (*emulator, error) {
	m := &emulator{quit: make(chan struct{})}
	m.set(e)
	for n, i := range []*Interface{a, b} {
		f, err := openTUN(i)
		if err != nil {
			if n == 1 {
				m.ends[0].Close()
			}
			return nil, err
		}
		m.ends[n] = f
	}
	m.wg.Add(4)
	for n := range m.ends {
		q := make(chan parcel, 65536)
		go m.receive(m.ends[n], q)
		go m.deliver(m.ends[1-n], q)
	}
	return m, nil
}

type parcel struct {
	data []byte
	due  time.Time
}

// receive stamps each packet with the time at which the far end gets it.
func (m *emulator) receive(from *os.File, q chan<- parcel) {
	defer m.wg.Done()
	defer close(q)
	buf := make([]byte, 65536)
	var free time.Time // when the last accepted packet has left the rate limiter
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		e := m.setting.Load()
		if n > e.mtu() || e.Loss > 0 && rand.Float64() < e.Loss {
			continue
		}
		now := time.Now()
		leave := now
		if e.Rate > 0 {
			if free.Before(now) {
				free = now
			}
			if waiting := free.Sub(now).Seconds() * float64(e.Rate) / 8; waiting > float64(e.queue()) {
				continue
			}
			free = free.Add(time.Duration(float64(n*8) / float64(e.Rate) * float64(time.Second)))
			leave = free
		}
		p := parcel{data: append([]byte(nil), buf[:n]...), due: leave.Add(e.Delay)}
		select {
		case q <- p:
		default: // as any full queue
		}
	}
}

func (m *emulator) deliver(to *os.File, q <-chan parcel) {
	defer m.wg.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for p := range q {
		if d := time.Until(p.due); d > 0 {
			timer.Reset(d)
			select {
			case <-timer.C:
			case <-m.quit:
				return
			}
		}
		to.Write(p.data) // a device that is down loses the packet
	}
}

func (m *emulator) set(e Emulation) { m.setting.Store(&e) }

func (m *emulator) close() {
	close(m.quit)
	for _, f := range m.ends {
		f.Close()
	}
	m.wg.Wait()
}

func (e *Emulation) mtu() int {
	if e.MTU > 0 {
		return e.MTU
	}
	return 1500
}

func (e *Emulation) queue() int64 {
	if e.Queue > 0 {
		return int64(e.Queue)
	}
	return e.Rate / 8 / 10
}
