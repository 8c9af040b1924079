package netstack

import (
	"io"
	"net"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// maxTCPInFlight bounds connections between SYN and established; a browser
	// opens a few dozen at once.
	maxTCPInFlight = 256

	// serviceTimeout bounds the dial to a local service: on the same machine an
	// answer takes microseconds, so one that needs seconds is a stuck service.
	serviceTimeout = 5 * time.Second

	copySize = 64 << 10 // bytes, one buffer for each direction
)

// forwardTCP carries one connection to the local service of its port. It runs in
// a goroutine of its own for each SYN. The service is dialled first, so that one
// that refuses is seen as a refusal at the far end.
func (s *Stack) forwardTCP(r *tcp.ForwarderRequest) {
	if !s.begin() {
		r.Complete(true)
		return
	}
	defer s.work.Done()

	id := r.ID()
	local := s.dialService("tcp", id.LocalPort)
	if local == nil {
		r.Complete(true)
		return
	}
	var queue waiter.Queue
	ep, terr := r.CreateEndpoint(&queue)
	if terr != nil {
		reset(local)
		r.Complete(true)
		return
	}
	r.Complete(false)
	remote := &tcpConn{TCPConn: gonet.NewTCPConn(&queue, ep), ep: ep, stack: s}
	s.mu.Lock()
	s.forwards[remote] = id
	s.check(remote, id) // a Recheck may have passed since the SYN
	s.mu.Unlock()
	splice(remote, local.(*net.TCPConn), s.ctx.Done())
	s.mu.Lock()
	delete(s.forwards, remote)
	s.mu.Unlock()
}

// dialService connects to the local service behind a port, nil when there is
// none or it does not answer.
func (s *Stack) dialService(network string, port uint16) net.Conn {
	if s.service == nil {
		return nil
	}
	address, ok := s.service(network, port)
	if !ok {
		return nil
	}
	d := net.Dialer{Timeout: serviceTimeout}
	c, err := d.DialContext(s.ctx, network, address)
	if err != nil {
		return nil
	}
	return c
}

// splice copies both ways until both ends have closed, one was reset, or stop
// ends. A half-close is passed on as one, a reset as a reset; a reader that
// stops stops the writer, because nothing is held but one buffer.
func splice(remote *tcpConn, local *net.TCPConn, stop <-chan struct{}) {
	var once sync.Once
	abort := func() {
		once.Do(func() {
			remote.abort()
			reset(local)
		})
	}
	done := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		if copyHalf(local, remote) != nil || local.CloseWrite() != nil {
			abort()
		}
	})
	both.Go(func() {
		if copyHalf(remote, local) != nil || remote.CloseWrite() != nil {
			abort()
		}
	})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-stop:
			abort()
		case <-done:
		}
	})
	both.Wait()
	close(done)
	watch.Wait()
	_ = remote.Close()
	_ = local.Close()
}

// copyHalf copies to the end of r; its buffer is not the 32 KiB of io.Copy.
func copyHalf(w io.Writer, r io.Reader) error {
	buf := make([]byte, copySize)
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, buf)
	return err
}

// reset closes a connection so that its far end sees a reset.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}
