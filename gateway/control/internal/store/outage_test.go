package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/postgrestest"
)

// What was noted while the server was away, or stood still, is written when it is
// back; who waits for a write is told that it may not be there.
func TestOutage(t *testing.T) {
	server := postgrestest.Start(t)
	for name, outage := range map[string]struct{ begin, end func() }{
		"killed": {server.Kill, server.Restart},
		"frozen": {server.Freeze, server.Thaw},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), server.Database())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var failures atomic.Int32
			s.Failed(func(err error) {
				if !errors.Is(err, ErrLost) {
					t.Error(err)
				}
				failures.Add(1)
			})
			put := func(id string, roots int) {
				s.Later(id, func(tx *Tx) error { return tx.PutDevice(Device{ID: id, Key: "k", Roots: roots}) })
			}
			put("before", 1)
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			outage.begin()
			for i := range 700 {
				put(fmt.Sprint("meanwhile-", i), 1)
			}
			put("before", 2)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			err = s.Do(ctx, func(tx *Tx) error { return tx.PutDevice(Device{ID: "unsure", Key: "k"}) })
			cancel()
			if err == nil {
				t.Error("written to a server that is away")
			}
			put("before", 3)
			outage.end()
			for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				if err := s.Flush(t.Context()); err == nil {
					break
				} else if time.Now().After(end) {
					t.Fatal(err)
				}
			}
			list, err := s.Devices(t.Context())
			roots := make(map[string]int)
			for _, d := range list {
				roots[d.ID] = d.Roots
			}
			delete(roots, "unsure")
			if err != nil || len(roots) != 701 || roots["before"] != 3 {
				t.Errorf("%d devices, the first of %d, %v", len(roots), roots["before"], err)
			}
			if failures.Load() > 2 {
				t.Errorf("told %d times of one outage", failures.Load())
			}
		})
	}
}
