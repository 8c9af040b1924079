package watchdog

import "time"

// window is how many echoes the loss is counted over: eight seconds of probing,
// or ten minutes of an idle tunnel.
const window = 32

// late is when an unanswered echo counts as lost.
const late = 3 * time.Second

// A Meter pairs echoes with their answers. The zero Meter is ready. It is not
// safe for concurrent use.
type Meter struct {
	next   uint16
	echoes [window]echo
	rtt    time.Duration // smoothed; 0: unknown
	least  time.Duration // the least, which rises slowly; 0: unknown
}

type echo struct {
	seq      uint16
	sent     time.Duration // 0: no echo
	answered bool
	tried    bool // it may stay away without being lost
}

// Sent takes the sending of an echo and returns its sequence number.
func (m *Meter) Sent(now time.Duration) uint16 {
	seq := m.next
	m.next++
	m.echoes[seq%window] = echo{seq: seq, sent: now}
	return seq
}

// Tried is Sent for an echo of a size that may be too large to come back: then it
// does not count as lost.
func (m *Meter) Tried(now time.Duration) uint16 {
	seq := m.Sent(now)
	m.echoes[seq%window].tried = true
	return seq
}

// Answered takes the answer to echo seq and returns its round trip; ok is false
// when it was not asked for, was answered before or is too old to tell.
func (m *Meter) Answered(seq uint16, now time.Duration) (rtt time.Duration, ok bool) {
	e := &m.echoes[seq%window]
	if e.sent == 0 || e.seq != seq || e.answered {
		return 0, false
	}
	e.answered = true
	rtt = max(now-e.sent, 1)
	if m.rtt == 0 {
		m.rtt = rtt
	} else {
		m.rtt += (rtt - m.rtt) / 8 // as RFC 6298 smooths it
	}
	if m.least == 0 || rtt < m.least {
		m.least = rtt
	} else {
		m.least += (rtt - m.least) / 32
	}
	return rtt, true
}

// Count returns how many echoes were sent, modulo 65,536.
func (m *Meter) Count() uint16 { return m.next }

// RTT returns the smoothed round trip, 0 when no echo was answered.
func (m *Meter) RTT() time.Duration { return m.rtt }

// Least returns about the least round trip, 0 when no echo was answered. The first
// echo of a tunnel waits for the handshake, and idle ones are too few to outweigh it.
func (m *Meter) Least() time.Duration { return m.least }

// Loss returns the share, 0 to 1, of the last echoes that were not answered in
// three seconds.
func (m *Meter) Loss(now time.Duration) float64 {
	lost, all := 0, 0
	for _, e := range m.echoes {
		switch {
		case e.sent == 0:
		case e.answered:
			all++
		case !e.tried && now-e.sent > late:
			all++
			lost++
		}
	}
	if all == 0 {
		return 0
	}
	return float64(lost) / float64(all)
}
