package tunnel

import (
	"bufio"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/boothwire/boothwire/internal/bind"
	"github.com/boothwire/boothwire/internal/packet"
	"github.com/boothwire/boothwire/tunnel/internal/path"
	"github.com/boothwire/boothwire/tunnel/internal/watchdog"
)

// A far is one far end, with the watch over it. It belongs to run.
type far struct {
	id     string // at the bind
	peer   Peer
	own    netip.Addr // that its echoes come from
	link   *bind.Peer
	dog    watchdog.Machine
	meter  watchdog.Meter
	path   path.Machine[bind.Route]
	hold   time.Duration // it may begin until then, so no echo makes this end begin
	proved chan struct{} // closed at its first proof
}

func (t *Tunnel) newFar(c *Config) *far {
	t.ids++
	f := &far{
		id:     "far" + strconv.Itoa(t.ids),
		peer:   c.Far,
		own:    from(c.Addresses, c.Far.Proof),
		proved: make(chan struct{}),
	}
	if c.Far.Initiates {
		f.hold = t.gate.Now() + holdInitiation
		f.dog.Late = watchdog.Repair / 2
	}
	f.link = t.bind.AddPeer(f.id)
	t.setWays(f, c)
	return f
}

// point tells the bind where to send to.
func (f *far) point() { f.link.SetRoutes(f.path.Paths()) }

// hear tells the path machine by which routes packets came.
func (f *far) hear(start time.Time) {
	f.path.Hear(func(r bind.Route) time.Duration {
		_, at := f.link.Heard(r)
		if at.IsZero() {
			return 0
		}
		return at.Sub(start)
	})
}

// quick is how long packets may stay unanswered before an echo asks; 0: not known.
func (f *far) quick() time.Duration {
	if d := f.path.Quick(); d != 0 {
		return d
	}
	if rtt := f.meter.Least(); rtt != 0 {
		return path.QuickFor(rtt)
	}
	return 0
}

// addLines add the far end as a peer with the given addresses.
func (f *far) addLines(allowed []netip.Addr) string {
	return publicLine(f.peer.Key) + "endpoint=peer:" + f.id + "\n" + allowedLines(allowed)
}

// prove sends an echo whose answer proves the far end.
func (t *Tunnel) prove(f *far, now time.Duration) {
	size := t.sizer.MTU()
	if f.dog.Waiting() != 0 && f.meter.Count()%2 == 1 {
		// The whole MTU shows that full packets pass; a small one, every second
		// time, that the far end is there though the path is narrow.
		size = smallEcho
	}
	seq := f.meter.Sent(now)
	f.dog.Sent(now)
	if f == t.far {
		t.sizer.Sent(seq, size)
	}
	t.sendEcho(f, seq, size)
}

// try sends an echo of a size that may be too large.
func (t *Tunnel) try(f *far, now time.Duration, size int) {
	t.sendEcho(f, f.meter.Tried(now), size)
}

const smallEcho = 84 // bytes, what ping sends

func (t *Tunnel) sendEcho(f *far, seq uint16, size int) {
	t.buf = packet.AppendEcho(t.buf[:0], f.own, f.peer.Proof, t.echo.ID, seq, t.echo.Token[:], size)
	t.gate.Send(t.buf)
}

// handshake asks WireGuard when the newest handshake with f was completed; ok is
// false when none was.
func (t *Tunnel) handshake(f *far) (at time.Time, ok bool) {
	text, err := t.dev.IpcGet()
	if err != nil {
		return at, false
	}
	want := strings.TrimSuffix(publicLine(f.peer.Key), "\n")
	ours := false
	var sec, nsec int64
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		switch key {
		case "public_key":
			ours = lines.Text() == want
		case "last_handshake_time_sec":
			if ours {
				sec, _ = strconv.ParseInt(value, 10, 64)
			}
		case "last_handshake_time_nsec":
			if ours {
				nsec, _ = strconv.ParseInt(value, 10, 64)
			}
		}
	}
	return time.Unix(sec, nsec), sec != 0
}
