package metrics

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// used reads what the kernel counts of this process.
func used() (usage, bool) {
	var u usage
	var r unix.Rusage
	var limit unix.Rlimit
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil || unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return u, false
	}
	u.cpu = (time.Duration(r.Utime.Nano()) + time.Duration(r.Stime.Nano())).Seconds()
	u.most = limit.Cur
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return u, false
	}
	var pages uint64
	if _, err := fmt.Sscan(string(statm), new(uint64), &pages); err != nil {
		return u, false
	}
	u.resident = pages * uint64(os.Getpagesize())
	open, err := os.ReadDir("/proc/self/fd")
	u.open = len(open)
	return u, err == nil
}
