package control

import (
	"slices"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
)

// maxSamples bounds what is kept of how a session's path was: enough for a plot.
const maxSamples = 64

// samples are how a session's path was, the earliest first.
type samples []client.Sample

// add takes note of how the path is. Beyond maxSamples the one goes whose neighbours are
// closest, so that they stay spread over the whole session; one with which the path
// changed goes last, the first and the latest never.
func (l samples) add(v client.Sample) samples {
	if n := len(l); n > 0 {
		switch last := l[n-1]; {
		case v.After < last.After:
			return l // the clock went back
		case v.After == last.After:
			return append(l[:n-1:n-1], v)
		}
	}
	l = append(slices.Clone(l), v) // others may be reading the one before
	if len(l) <= maxSamples {
		return l
	}
	least, at := client.Seconds(0), 0
	for i := 1; i < len(l)-1; i++ {
		gap := l[i+1].After - l[i-1].After
		if l[i].Path != l[i-1].Path || l[i].Degraded != l[i-1].Degraded {
			gap += 1 << 40 // longer than any session
		}
		if at == 0 || gap < least {
			least, at = gap, i
		}
	}
	return slices.Delete(l, at, at+1)
}

// rows are samples as the store has them.
func (l samples) rows() []store.Sample {
	var rows []store.Sample
	for _, v := range l {
		rows = append(rows, store.Sample{After: int64(v.After), Path: v.Path, RTT: int64(v.RTT), Degraded: v.Degraded})
	}
	return rows
}

func readSamples(rows []store.Sample) samples {
	var l samples
	for _, r := range rows {
		l = append(l, client.Sample{After: client.Seconds(r.After), Path: r.Path, RTT: client.Micros(r.RTT), Degraded: r.Degraded})
	}
	return l
}
