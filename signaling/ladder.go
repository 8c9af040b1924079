package signaling

import (
	"errors"
	"time"
)

// step writes a stage into the ladder, once.
func (o *opened) step(st Stage, now time.Time) bool {
	for _, s := range o.show.Ladder {
		if s.Stage == st {
			return false
		}
	}
	o.show.Ladder = append(o.show.Ladder, Step{Stage: st, After: max(0, now.Sub(o.received))})
	return true
}

// failed writes the stage that was not reached: the one that err names, or the
// next one after what was reached.
func (o *opened) failed(now time.Time, err error) {
	at := Closed
	if n := len(o.show.Ladder); n > 0 {
		at = after(o.show.Ladder[n-1].Stage)
	}
	var named interface{ Stage() Stage }
	if errors.As(err, &named) && named.Stage().valid() {
		at = named.Stage()
	}
	o.show.Ladder = append(o.show.Ladder, Step{Stage: at, After: max(0, now.Sub(o.received)), Code: o.show.Code})
}

// after returns the stage that a session which got to st was working on. Not
// every session looks for candidates, so none is said to have failed there.
func after(st Stage) Stage {
	switch st {
	case Received:
		return Authorised
	case Authorised:
		return Keyed
	case Keyed:
		return Socket
	case Socket, Candidates:
		return Handshake
	case Handshake:
		return Proved
	case Proved:
		return Ready
	}
	return Closed
}
