package held

import (
	"context"
	"iter"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// Status is a session as this console knows it, without anything secret.
type Status struct {
	Session   client.Session `json:"session"` // as control sees it
	Self      string         `json:"self"`    // the user's opaque id in it
	Ports     []keys.Port    `json:"ports"`   // that he may reach
	Ready     bool           `json:"ready"`   // an echo came back from the device
	Reachable client.Micros  `json:"reachable_us,omitempty"`
	Tunnel    Tunnel         `json:"tunnel"`
	Tabs      int            `json:"tabs"`
	Leaves    time.Time      `json:"leaves,omitzero"` // when it is left for want of tabs
	Over      *Over          `json:"over,omitempty"`
	Now       time.Time      `json:"now,omitzero"` // of the clock that the times are of
}

// Tunnel is the session's tunnel as its end in this process sees it.
type Tunnel struct {
	State string        `json:"state"`
	Path  string        `json:"path,omitempty"` // direct or relay
	Why   string        `json:"why,omitempty"`
	RTT   client.Micros `json:"rtt_us,omitempty"`
	Loss  float64       `json:"loss,omitempty"` // 0 to 1
	Rx    uint64        `json:"rx"`             // bytes from the device
	Tx    uint64        `json:"tx"`
}

// Status is a snapshot.
func (s *Session) Status() Status {
	now := s.op.Status()
	v := Status{Now: s.of.cfg.Now().UTC(), Session: now.Session, Self: now.Session.Operator, Ports: s.Ports(), Tunnel: Tunnel{
		State: string(now.Tunnel.State), Path: string(now.Tunnel.Path), Why: now.Tunnel.Why,
		RTT: client.Micros(now.Tunnel.RTT.Microseconds()), Loss: now.Tunnel.Loss, Rx: now.Tunnel.Rx, Tx: now.Tunnel.Tx,
	}}
	v.Session.Grant, v.Session.Operator, v.Session.Renewal, v.Session.Relays, v.Session.STUN = "", "", "", nil, nil
	s.mu.Lock()
	defer s.mu.Unlock()
	v.Ready = s.reachable > 0 && s.over == nil
	v.Reachable = client.Micros(s.reachable.Microseconds())
	v.Tabs, v.Leaves, v.Over = s.presence.count(), s.presence.until.UTC(), s.over
	return v
}

// every is how often what changes by itself is looked at: bytes, round trip, path.
const every = time.Second

// Watch yields the session as it is, then again at each change, and each second while it
// lasts; it ends when the session is over or ctx is.
func (s *Session) Watch(ctx context.Context) iter.Seq[Status] {
	return func(yield func(Status) bool) {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			s.mu.Lock()
			changed := s.changed
			s.mu.Unlock()
			v := s.Status()
			if !yield(v) || v.Over != nil {
				return
			}
			select {
			case <-changed:
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}
}
