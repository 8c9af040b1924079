package shape

import "math"

// CoDel's parameters (RFC 8289, section 4).
const (
	target   = 5 * millisecond // a queue that is never shorter stands
	interval = 100 * millisecond
)

// codel is CoDel's state of one queue.
//
//	not above -> above for an interval -> dropping: at once, then ever more often
//	any -> below the target, or only one packet left -> not above
type codel struct {
	above       int64 // when the wait has been too long for an interval; 0: it is not
	next        int64 // when to drop the next, while dropping
	count, last uint32
	dropping    bool
}

// drops reports whether to drop the packet at the head, which has waited for wait;
// then it is to be asked about the next one. alone: no other packet waits.
func (c *codel) drops(now, wait, target int64, alone bool) bool {
	patience := interval + target
	if wait < target || alone {
		c.above, c.dropping = 0, false
		return false
	}
	if c.above == 0 {
		c.above = now + patience
		return false
	}
	if now < c.above {
		return false
	}
	if c.dropping {
		if now < c.next {
			return false
		}
		c.count++
		c.next += after(patience, c.count)
		return true
	}
	c.dropping = true
	// A queue that stood a moment ago goes on where it was.
	if more := c.count - c.last; more > 1 && now-c.next < 16*patience {
		c.count = more
	} else {
		c.count = 1
	}
	c.last = c.count
	c.next = now + after(patience, c.count)
	return true
}

// after is the pause before the drop that follows count of them.
func after(patience int64, count uint32) int64 {
	return int64(float64(patience) / math.Sqrt(float64(count)))
}
