package watchdog

import "time"

// An End is why a tunnel ends by itself.
type End uint8

const (
	Lives End = iota
	Lifetime
	Unused
)

// Ends says whether a tunnel is over at now, and when to ask again (0: never).
// lifetime is its total from the clock's start, idle how long it may stay
// without use after lastUse; zero or less means no limit.
func Ends(now, lifetime, idle, lastUse time.Duration) (end End, next time.Duration) {
	if lifetime > 0 {
		if now >= lifetime {
			return Lifetime, 0
		}
		next = lifetime
	}
	if idle > 0 {
		if now >= lastUse+idle {
			return Unused, 0
		}
		if next == 0 || lastUse+idle < next {
			next = lastUse + idle
		}
	}
	return Lives, next
}
