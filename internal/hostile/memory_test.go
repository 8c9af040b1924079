package hostile

import (
	"sync/atomic"
	"testing"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/signalingtest"
)

// memory is the broker of signalingtest.
type memory struct {
	b      *signalingtest.Broker
	direct atomic.Bool // what is published now comes from the enemy
	kept   atomic.Bool // and is delivered as retained
}

func newMemory(*testing.T) medium {
	m := &memory{b: signalingtest.New()}
	m.intercept(nil)
	return m
}

func (m *memory) listener(d *keys.Device) signaling.Listener { return m.b.Device(d.ID()) }
func (m *memory) sender() signaling.Sender                   { return m.b.Fleet("control") }

func (m *memory) intercept(f func(to string, p signalingtest.Packet) []signalingtest.Packet) {
	if f == nil {
		f = func(_ string, p signalingtest.Packet) []signalingtest.Packet { return []signalingtest.Packet{p} }
	}
	m.b.Intercept(func(to string, p signalingtest.Packet) []signalingtest.Packet {
		if m.direct.Load() {
			p.Retained = p.Retained || m.kept.Load()
			return []signalingtest.Packet{p}
		}
		return f(to, p)
	})
}

// inject lets through, as a hostile broker may, what honest ones publish in the
// same moment.
func (m *memory) inject(p signalingtest.Packet) {
	m.direct.Store(true)
	m.kept.Store(p.Retained)
	defer m.direct.Store(false)
	m.b.Publish(p.Topic, p.Payload, false)
}
