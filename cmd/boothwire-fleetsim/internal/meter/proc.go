package meter

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of /proc's times, which is the same on every Linux.
const tick = 10 * time.Millisecond

// A Use is what a process has used so far.
type Use struct {
	CPU time.Duration // user and system
	RSS int64         // bytes, now
}

// ReadUse reads a process; the error says that there is none, or no /proc.
func ReadUse(pid int) (Use, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Use{}, err
	}
	u, err := parseStat(stat)
	if err != nil {
		return Use{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return u, nil
}

// parseStat takes utime, stime and rss, proc(5) fields 14, 15 and 24. The name before
// them is in brackets and may hold any.
func parseStat(stat []byte) (Use, error) {
	end := bytes.LastIndexByte(stat, ')')
	fields := bytes.Fields(stat[end+1:])
	if end < 0 || len(fields) < 22 {
		return Use{}, fmt.Errorf("%d fields", len(fields))
	}
	var n [3]int64
	for i, field := range []int{14 - 3, 15 - 3, 24 - 3} {
		v, err := strconv.ParseInt(string(fields[field]), 10, 64)
		if err != nil || v < 0 {
			return Use{}, fmt.Errorf("field %q", fields[field])
		}
		n[i] = v
	}
	return Use{CPU: time.Duration(n[0]+n[1]) * tick, RSS: n[2] * int64(os.Getpagesize())}, nil
}

// readBusy is how long all cores together were busy since the system started, whoever
// used them.
func readBusy() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(stat)
}

// parseBusy sums what the first line says, proc(5), but for idle, iowait and guests,
// which user holds already.
func parseBusy(stat []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return 0, fmt.Errorf("/proc/stat: %q", line)
	}
	var sum int64
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		v, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil || v < 0 {
			return 0, fmt.Errorf("/proc/stat: %q", fields[i])
		}
		sum += v
	}
	return time.Duration(sum) * tick, nil
}
