package control

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/signaling"
)

// PathTimes is how long packets went by each kind of path.
type PathTimes struct{ Direct, Relay time.Duration }

// spent counts PathTimes of many sessions, in nanoseconds.
type spent struct{ direct, relay atomic.Int64 }

func (s *spent) add(t PathTimes) {
	s.direct.Add(int64(t.Direct))
	s.relay.Add(int64(t.Relay))
}

func (s *spent) sum() PathTimes {
	return PathTimes{time.Duration(s.direct.Load()), time.Duration(s.relay.Load())}
}

// carried takes over what a device says that its session has carried, none of which
// falls, and returns by how much the times grew. Where a node takes part its own count
// of bytes stands. No session is longer on its paths than it is old, whatever a device
// says.
func (s *session) carried(st *signaling.Status, now time.Time) (grown PathTimes) {
	if s.endToEnd {
		s.rx, s.tx = max(s.rx, st.Tx), max(s.tx, st.Rx)
	}
	most := max(now.Sub(s.opened), 0).Truncate(time.Second) + time.Second
	was := s.spent
	s.spent.Direct = max(was.Direct, min(st.Direct, most))
	s.spent.Relay = max(was.Relay, min(st.Relay, most-min(s.spent.Direct, most)))
	return PathTimes{s.spent.Direct - was.Direct, s.spent.Relay - was.Relay}
}

// shown is a PathTimes as the API has it.
func (t PathTimes) shown() client.PathTimes {
	return client.PathTimes{Direct: client.Seconds(t.Direct / time.Second), Relay: client.Seconds(t.Relay / time.Second)}
}

// summary says for the audit what a session that is over has carried; empty: nothing.
func (s *session) summary() string {
	if s.rx == 0 && s.tx == 0 && s.spent == (PathTimes{}) {
		return ""
	}
	parts := []string{fmt.Sprintf("%d bytes from the device, %d to it", s.rx, s.tx)}
	if t := s.spent.shown(); s.spent != (PathTimes{}) {
		parts = append(parts, fmt.Sprintf("%d s direct, %d s by relay", t.Direct, t.Relay))
	}
	if s.pathWhy != "" {
		parts = append(parts, s.pathWhy)
	}
	return strings.Join(parts, "; ")
}
