// Package leaktest lets tests end with no goroutine of theirs left, whatever the
// machine does: goleak itself waits for less than half a second.
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const patience = 20 * time.Second

func find(options []goleak.Option) error {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := goleak.Find(options...)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// None fails t if a goroutine stays that options do not except.
func None(t testing.TB, options ...goleak.Option) {
	t.Helper()
	if err := find(options); err != nil {
		t.Error(err)
	}
}

// Main is a TestMain after whose tests nothing stays.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := find(nil); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left after the tests:", err)
			code = 1
		}
	}
	os.Exit(code)
}
