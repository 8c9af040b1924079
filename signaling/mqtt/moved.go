package mqtt

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"go.uber.org/zap"
)

const (
	// movedPoll is how often it is looked by which address the broker is reached.
	movedPoll = 2 * time.Second
	// movedMost is how long at most until a connection by the uplink of before is probed
	// once more: that one may go down at any time after another took over.
	movedMost = 30 * time.Second
	// movedProbe is how long the broker may then take to answer: a TCP connection by
	// a way that is gone would else be noticed by the keepalive, after a minute or two.
	movedProbe = 5 * time.Second
)

// watch probes a connection when this machine would no longer reach its far end from
// the address that it was made from: another uplink has taken over. A connection that
// still works, as over a second uplink, stays. A broker on this machine needs no uplink.
func (l *line) watch(live context.Context, cm *autopaho.ConnectionManager, gen int, c *conn) {
	own := addrOf(c.LocalAddr())
	if l.route == nil || !own.IsValid() {
		return
	}
	from, pause, probed := own, movedPoll, time.Time{}
	// Subscribed again, which changes nothing; what is retained was sent the first time.
	again := l.plan.subscribe
	again.RetainHandling = max(again.RetainHandling, 1)
	tick := time.NewTicker(movedPoll)
	defer tick.Stop()
	for {
		select {
		case <-live.Done():
			return
		case <-tick.C:
		}
		switch now := l.route(c.RemoteAddr()); {
		case !now.IsValid():
			continue
		case now != from:
			from, pause = now, movedPoll
		case now == own || time.Since(probed) < pause:
			continue
		default:
			pause = min(2*pause, movedMost)
		}
		probed = time.Now()
		ctx, cancel := context.WithTimeout(live, movedProbe)
		err := l.ask(ctx, cm, again)
		cancel()
		if err == nil || live.Err() != nil {
			continue
		}
		l.mu.Lock()
		if gen == l.gen {
			l.log.Info("mqtt: the line did not survive a change of uplink", zap.Error(err))
			c.Close() // the connection manager notices, and calls lost
		}
		l.mu.Unlock()
		return
	}
}

// routeTo is the address from which this machine would reach to, invalid if it would
// not. No packet is sent.
func routeTo(to net.Addr) netip.Addr {
	c, err := net.Dial("udp", to.String())
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return addrOf(c.LocalAddr())
}

func addrOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
