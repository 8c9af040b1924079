package gateway

import (
	"testing"
	"time"
)

func TestRefusalsLog(t *testing.T) {
	r := make(refusals)
	for _, c := range []struct {
		at     time.Duration
		code   string
		silent int
		ok     bool
	}{
		{0, "forged", 0, true},
		{time.Second, "forged", 0, false},
		{2 * time.Second, "expired", 0, true},
		{59 * time.Second, "forged", 0, false},
		{time.Minute, "forged", 2, true},
		{time.Minute + time.Second, "forged", 0, false},
		{time.Hour, "expired", 0, true},
	} {
		if silent, ok := r.log(c.code, c.at); silent != c.silent || ok != c.ok {
			t.Errorf("%s at %v: %d %v, want %d %v", c.code, c.at, silent, ok, c.silent, c.ok)
		}
	}
}
