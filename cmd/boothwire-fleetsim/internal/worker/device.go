package worker

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/mqtt"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/agent"
)

// A device is one agent and what is counted of it.
type device struct {
	agent *agent.Agent

	mu     sync.Mutex
	counts Figures
}

// open makes the devices of a brief, which do nothing yet, and their identity keys.
func open(b Brief, bulk string) ([]*device, map[string]string, error) {
	devices, public := make([]*device, len(b.Devices)), make(map[string]string, len(b.Devices))
	for i, id := range b.Devices {
		identity, err := keys.OpenDevice(id, keys.NewMemory(), keys.Trust{Roots: b.Roots, Issuer: b.Issuer})
		if err != nil {
			return nil, nil, err
		}
		if devices[i], err = newDevice(b, identity, address(b.First+i, b.Addresses), bulk); err != nil {
			return nil, nil, err
		}
		public[id] = identity.Key().String()
	}
	return devices, public, nil
}

func newDevice(b Brief, identity *keys.Device, from netip.Addr, bulk string) (*device, error) {
	d := new(device)
	login := b.Broker.As(identity.ID())
	ca, err := b.Broker.TLS()
	if err != nil {
		return nil, err
	}
	line, err := mqtt.NewListener(identity, b.Broker.URL, &mqtt.Config{Username: login.User, Password: login.Password, TLS: ca, Insecure: true})
	if err != nil {
		return nil, err
	}
	d.agent, err = agent.New(identity, &watched{line, d}, &agent.Config{
		Mode:     tunnel.Driverless,
		Services: map[keys.Port]string{keys.TCP(22): bulk},
		Socket: func() (net.PacketConn, error) {
			return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
		},
		Version: "boothwire-fleetsim",
	})
	return d, err
}

// address is the loopback address of the n-th device, from 127.16.0.1 on. Devices that
// share one look to a node as if they were behind one NAT.
func address(n, all int) netip.Addr {
	if all > 0 {
		n %= all
	}
	n++
	return netip.AddrFrom4([4]byte{127, byte(16 + n>>16), byte(n >> 8), byte(n)})
}

// serve runs the agent after a while, until ctx ends.
func (d *device) serve(ctx context.Context, after time.Duration) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(after):
	}
	follow, stop := context.WithCancel(ctx)
	defer stop()
	go d.follow(follow)
	_ = d.agent.Run(ctx) // fails only when it runs already
}

// follow counts what becomes of sessions.
func (d *device) follow(ctx context.Context) {
	state := signaling.Disconnected
	proved := false
	for e := range d.agent.Events(ctx) {
		d.mu.Lock()
		c := &d.counts
		switch {
		case e.State == signaling.Connected && !proved:
			proved = true
			c.Open, c.Opened = c.Open+1, c.Opened+1
		case e.State == signaling.Degraded && state != signaling.Degraded:
			c.Degraded++
		case e.Step.Stage == signaling.Closed && proved:
			proved = false
			c.Open--
			if e.State == signaling.Failed {
				c.Lost++
			} else {
				c.Closed++
			}
		case e.Step.Stage == signaling.Closed:
			c.Failed++
		}
		d.mu.Unlock()
		state = e.State
	}
}

// seen are the counts of now.
func (d *device) seen() Figures {
	d.mu.Lock()
	f := d.counts
	d.mu.Unlock()
	f.Refused = int(d.agent.Stats().Refused)
	return f
}

// lineUp counts lines.
func (d *device) lineUp(up bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case up && d.counts.Online == 0:
		d.counts.Online = 1
	case !up && d.counts.Online == 1:
		d.counts.Online = 0
		d.counts.Dropped++
	}
}

// watched tells a device of its line.
type watched struct {
	signaling.Listener
	d *device
}

func (w *watched) Listen(ctx context.Context, sink signaling.Sink) error {
	return w.Listener.Listen(ctx, watchedSink{sink, w.d})
}

type watchedSink struct {
	signaling.Sink
	d *device
}

func (s watchedSink) Connected(up bool) {
	s.d.lineUp(up)
	s.Sink.Connected(up)
}
