package watchdog

import "time"

// Step is how far the wall clock must move against the monotonic one to count as
// set: far above what NTP slews in twenty seconds.
const Step = 30 * time.Second

// A Clock notices that someone set the wall clock, or that the machine slept.
// The zero Clock takes its bearings at the first Check.
type Clock struct {
	wall time.Time
	mono time.Duration
}

// Check compares both clocks and returns how far the wall clock moved against
// the monotonic one since the last step, 0 when that is less than Step.
func (c *Clock) Check(wall time.Time, mono time.Duration) time.Duration {
	wall = wall.Round(0) // without the monotonic reading
	if c.wall.IsZero() {
		c.wall, c.mono = wall, mono
		return 0
	}
	moved := wall.Sub(c.wall) - (mono - c.mono)
	if moved.Abs() < Step {
		return 0
	}
	c.wall, c.mono = wall, mono
	return moved
}
