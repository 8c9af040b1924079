//go:build !windows

package daemon

import (
	"context"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// systemd hears when the program serves, that it is alive only while it is, and when
// it stops.
func TestSupervise(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	ln, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	hear := func(patience time.Duration) string {
		b := make([]byte, 64)
		ln.SetReadDeadline(time.Now().Add(patience))
		n, _ := ln.Read(b)
		return string(b[:n])
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hang := make(chan struct{})
	var hangs atomic.Bool
	supervise(ctx, socket, 20*time.Millisecond, func() {
		if hangs.Load() {
			<-hang
		}
	})
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := hear(10 * time.Second); got != want {
			t.Fatalf("heard %q, want %q", got, want)
		}
	}
	hangs.Store(true)
	for hear(200*time.Millisecond) != "" { // until it hangs, which says nothing
	}
	close(hang)
	hangs.Store(false)
	if got := hear(10 * time.Second); got != "WATCHDOG=1" {
		t.Errorf("heard %q of one that goes on", got)
	}
	cancel()
	got := hear(10 * time.Second)
	for got == "WATCHDOG=1" {
		got = hear(10 * time.Second)
	}
	if got != "STOPPING=1" {
		t.Errorf("heard %q at the end", got)
	}
}

func TestWatchdog(t *testing.T) {
	for _, tt := range []struct {
		usec, of string
		want     time.Duration
	}{
		{"", "", 0}, {"nonsense", "", 0}, {"-5", "", 0}, {"30000000", "", 15 * time.Second},
		{"30000000", "7", 15 * time.Second}, {"30000000", "8", 0},
	} {
		if got := watchdog(tt.usec, tt.of, 7); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}
