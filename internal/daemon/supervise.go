package daemon

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Supervise tells systemd, where it runs the program as Type=notify, that it serves
// now, and once ctx has ended that it stops. With WatchdogSec it also calls alive again
// and again, and tells systemd each time that it returned: one that hangs, because a
// lock is never given back, has the program ended, with its goroutines in the log, and
// started again. Supervise does not wait; alive may be called until ctx has ended.
func Supervise(ctx context.Context, alive func()) {
	supervise(ctx, os.Getenv("NOTIFY_SOCKET"), watchdog(os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID"), os.Getpid()), alive)
}

// watchdog is how often to say that all is well: half of what systemd waits; 0: never.
func watchdog(usec, of string, pid int) time.Duration {
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || of != "" && of != strconv.Itoa(pid) {
		return 0
	}
	return time.Duration(n) * time.Microsecond / 2
}

func supervise(ctx context.Context, socket string, every time.Duration, alive func()) {
	if socket == "" {
		return
	}
	tell(socket, "READY=1")
	context.AfterFunc(ctx, func() { tell(socket, "STOPPING=1") })
	if every <= 0 {
		return
	}
	go func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				alive()
				tell(socket, "WATCHDOG=1")
			}
		}
	}()
}

// tell sends one state to systemd's socket; what fails is systemd's to notice.
func tell(socket, state string) {
	name := socket
	if rest, ok := strings.CutPrefix(socket, "@"); ok {
		name = "\x00" + rest
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte(state))
}
