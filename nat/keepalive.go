package nat

import "time"

// Defaults of a Keepalive.
const (
	KeepaliveMin = 15 * time.Second // below the shortest bindings of mobile carriers, 30 s
	KeepaliveMax = 2 * time.Minute  // what RFC 4787, section 4.3, asks of every NAT
)

// A Keepalive finds how long a NAT's binding may be idle: it begins at Min, goes up
// by half as long as bindings survive, and then closes in between the longest idle
// time that was survived and the shortest that was not.
//
//	        survived                lost                    within 1/8
//	Min ─────────────▶ up by half ─────────▶ halfway ─────────────────▶ settled
//	                       ▲                                               │
//	                       └── survived ── the shortest lost, once more ◀──┘ after a
//	                                       (a packet may have been lost)     while
//
// It is pure: no clock, no goroutine. It is of one network; another network needs
// another Keepalive. It is not safe for concurrent use. The zero value is ready.
type Keepalive struct {
	Min, Max time.Duration // bounds of Interval; 0: KeepaliveMin, KeepaliveMax

	good, bad time.Duration // the longest survived, the shortest lost; 0: none
	calm      int           // survived since it settled or was lost
	patience  int           // calm until bad is tried again
}

const (
	patienceFirst = 16
	patienceMost  = 1024
)

// Interval returns how long the binding may be idle before the next keepalive.
func (k *Keepalive) Interval() time.Duration {
	low, high := k.bounds()
	switch {
	case k.good == 0:
		return low
	case k.bad == 0:
		return clamp(k.good+k.good/2, low, high)
	case !k.settled():
		return clamp(k.good+(k.bad-k.good)/2, low, high)
	case k.calm >= k.patience:
		return clamp(k.bad, low, high)
	}
	// Below what was survived, as timers of NATs are coarse.
	return clamp(k.good-k.good/8, low, high)
}

// Observe tells what became of the binding after nothing was sent or received for
// idle: it survived if what was sent from outside still arrived, or an answer to the
// next packet showed the same public address. Idle times may be any; what a
// Report's Lifetime says can be told here first.
func (k *Keepalive) Observe(idle time.Duration, survived bool) {
	if idle <= 0 {
		return
	}
	if survived {
		k.survived(idle)
	} else {
		k.lost(idle)
	}
}

func (k *Keepalive) survived(idle time.Duration) {
	k.good = max(k.good, idle)
	if k.bad != 0 && idle >= k.bad {
		k.bad, k.calm, k.patience = 0, 0, 0 // what was lost was a packet, not the binding
	}
	if k.bad != 0 && k.settled() && idle >= k.Interval() {
		k.calm++
	}
}

func (k *Keepalive) lost(idle time.Duration) {
	if k.bad == 0 || idle < k.bad {
		k.bad = idle
	}
	if k.good >= k.bad {
		// What survived before does not now.
		k.good = k.bad / 2
	}
	k.calm = 0
	k.patience = min(max(2*k.patience, patienceFirst), patienceMost)
}

// settled reports whether there is nothing worth finding between good and bad. What
// is below Min or above Max is not.
func (k *Keepalive) settled() bool {
	low, high := k.bounds()
	return k.bad-k.good <= max(k.good/8, time.Second) || k.bad <= low || k.good >= high
}

func (k *Keepalive) bounds() (low, high time.Duration) {
	low, high = k.Min, k.Max
	if low <= 0 {
		low = KeepaliveMin
	}
	if high <= 0 {
		high = KeepaliveMax
	}
	return low, max(low, high)
}

func clamp(d, low, high time.Duration) time.Duration { return min(max(d, low), high) }
