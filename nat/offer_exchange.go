package nat

import (
	"slices"
	"time"
)

const (
	// offerGather is how long more candidates are waited for before a change is
	// told: STUN servers near each other answer within it.
	offerGather = 10 * time.Millisecond
	// An offer that is not acknowledged is sent again after a doubling wait: the
	// first is about a round trip by way of a broker.
	offerAgainFirst = 250 * time.Millisecond
	offerAgainMost  = 2 * time.Second
)

// An exchange makes two ends know each other's candidates by messages that may be
// lost, repeated or late. It is pure: time and offers go in, offers come out.
//
//	change ──10 ms──► send ──► unacknowledged ──ack >= seq──► quiet
//	                   ▲            │
//	                   └─250 ms..2 s┘
//
// An offer that wants an acknowledgement brings the next send forward; one that
// only acknowledges wants none, so that it ends.
type exchange struct {
	own     offer
	list    []Candidate // own.Candidates
	far     []Candidate // heard so far
	farSeq  uint32
	farEnd  bool
	farText string // its report

	acked uint32        // own.Seq that the far end heard
	told  uint32        // own.Seq of the present own.Report
	owe   bool          // it must be told that it was heard
	at    time.Time     // of the next send; zero: none
	again time.Duration // after the next send
}

// change brings the next send forward; what follows it starts with short waits.
func (x *exchange) change(now time.Time) {
	x.own.Seq++
	x.again = offerAgainFirst
	x.soon(now)
}

func (x *exchange) soon(now time.Time) {
	if t := now.Add(offerGather); x.at.IsZero() || x.at.After(t) {
		x.at = t
	}
}

// add offers candidates; those that do not fit any more, of the least worth, are
// left out.
func (x *exchange) add(now time.Time, list ...Candidate) {
	before := len(x.list)
	for _, c := range list {
		known := slices.ContainsFunc(x.list, func(o Candidate) bool { return o.Addr == c.Addr })
		if !known && len(x.list) < candidatesMost {
			x.list = append(x.list, c)
		}
	}
	if len(x.list) == before && x.own.Seq > 0 {
		return
	}
	x.own.Candidates = make([]string, len(x.list))
	for i, c := range x.list {
		x.own.Candidates[i] = c.String()
	}
	x.change(now)
}

// finish says that no more will be offered.
func (x *exchange) finish(now time.Time) {
	if !x.own.End {
		x.own.End = true
		x.change(now)
	}
}

// report tells the far end about this end's network.
func (x *exchange) report(now time.Time, text string) {
	if validReport(text) && text != x.own.Report {
		x.own.Report = text
		x.change(now)
		x.told = x.own.Seq
	}
}

// reported says whether the far end has heard the report, if there is one.
func (x *exchange) reported() bool { return x.acked >= x.told }

// receive returns the candidates that are new.
func (x *exchange) receive(now time.Time, o *offer, list []Candidate) (fresh []Candidate) {
	x.acked = max(x.acked, min(o.Ack, x.own.Seq))
	for _, c := range list {
		if len(x.far) < candidatesMost && !slices.Contains(x.far, c) {
			x.far = append(x.far, c)
			fresh = append(fresh, c)
		}
	}
	if o.Seq > x.farSeq {
		x.farSeq, x.farText = o.Seq, o.Report
	}
	x.farEnd = x.farEnd || o.End
	switch {
	case o.Want:
		x.owe = true
		x.soon(now)
	case x.acked == x.own.Seq && !x.owe:
		x.at = time.Time{}
	}
	return fresh
}

// next returns the offer that is due, nil if none is.
func (x *exchange) next(now time.Time) *offer {
	if x.at.IsZero() || now.Before(x.at) {
		return nil
	}
	x.own.Ack, x.own.Want, x.owe = x.farSeq, x.acked < x.own.Seq, false
	if x.own.Want {
		x.at = now.Add(x.again)
		x.again = min(2*x.again, offerAgainMost)
	} else {
		x.at = time.Time{}
	}
	o := x.own
	return &o
}
