package bind

import (
	"hash/maphash"
	"time"
)

// copyWindow is how long a copy of a handshake message is taken for one that came by
// another leg: less than the first of the repeats, which must get through in case the
// device had no room for the first.
const copyWindow = 200 * time.Millisecond

// A copies remembers the newest handshake messages, to let one of several copies
// through. WireGuard's handshake workers check a message and take it over in two steps,
// so that two copies at once can both pass. Of a response that makes two sessions with
// the same keys, whose counters both begin at zero: what the second one sends is thrown
// away as replayed. Of an initiation it makes two responses, and only the later one's
// session lives. The table is lossy, and its places cannot be foretold.
type copies struct {
	seed maphash.Seed
	seen [256]struct {
		hash uint64
		at   time.Duration
	}
}

func newCopies() copies { return copies{seed: maphash.MakeSeed()} }

// again notes a message and reports whether it is a copy.
func (c *copies) again(now time.Duration, msg []byte) bool {
	h := maphash.Bytes(c.seed, msg)
	s := &c.seen[h%uint64(len(c.seen))]
	if s.hash == h && now-s.at < copyWindow {
		return true
	}
	s.hash, s.at = h, now
	return false
}
