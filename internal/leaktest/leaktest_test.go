package leaktest

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// A goroutine that needs a while to end is none that stays.
func TestNoneWaits(t *testing.T) {
	before := goleak.IgnoreCurrent()
	go time.Sleep(time.Second)
	None(t, before)
}
