package userspace

import (
	"os"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/packet"
)

// router is the "TUN device" that wireguard-go writes decrypted packets to and
// reads packets for encryption from: what may pass goes from the one to the other.
type router struct {
	table  *reach.Table
	tally  *reach.Tally
	mtu    int
	queue  *queue
	events chan tun.Event
	once   sync.Once
}

var _ tun.Device = (*router)(nil)

func newRouter(table *reach.Table, tally *reach.Tally, mtu int, uplink int64) *router {
	return &router{table: table, tally: tally, mtu: mtu, queue: newQueue(mtu, uplink, tally), events: make(chan tun.Event)}
}

// Write takes a batch of decrypted packets of one peer, whose sources
// wireguard-go has checked against that peer's addresses.
func (r *router) Write(bufs [][]byte, offset int) (int, error) {
	var verdicts [conn.IdealBatchSize]reach.Verdict
	now := time.Now()
	for done := 0; done < len(bufs); {
		batch := bufs[done:min(len(bufs), done+len(verdicts))]
		r.table.Filter(batch, offset, now, verdicts[:])
		r.enqueue(batch, offset, now, &verdicts)
		done += len(batch)
	}
	return len(bufs), nil
}

func (r *router) enqueue(batch [][]byte, offset int, now time.Time, verdicts *[conn.IdealBatchSize]reach.Verdict) {
	r.queue.lock()
	defer r.queue.unlock()
	for i, buf := range batch {
		v := verdicts[i]
		if v.Reason != reach.Pass && v.Reason != reach.Answer {
			continue
		}
		b := buf[offset:]
		if len(b) > r.mtu {
			r.tally.Add(reach.Oversized, 1)
			continue
		}
		if v.Reason == reach.Answer {
			var p packet.Info
			if packet.Parse(b, &p) && packet.Reply(b, &p) {
				r.queue.push(now, v, b)
			}
			continue
		}
		if b = r.queue.push(now, v, b); b != nil {
			packet.Hop(b) // as a kernel that forwards would count it
			packet.ClampMSS(b, uint16(r.mtu-packet.IPv4Header-packet.TCPHeader))
		}
	}
}

// Read waits for packets that may pass.
func (r *router) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	return r.queue.pop(bufs, sizes, offset)
}

// Close ends a waiting Read.
func (r *router) Close() error {
	r.once.Do(func() {
		r.queue.close()
		close(r.events)
	})
	return nil
}

func (r *router) File() *os.File           { return nil }
func (r *router) MTU() (int, error)        { return r.mtu, nil }
func (r *router) Name() (string, error)    { return "boothwire", nil }
func (r *router) Events() <-chan tun.Event { return r.events }
func (r *router) BatchSize() int           { return conn.IdealBatchSize }
