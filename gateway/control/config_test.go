package control

import (
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// No session is longer than what nodes remember of those that are over.
func TestTooLong(t *testing.T) {
	_, err := Open(t.Context(), ":memory:", &Config{Store: keys.NewMemory(), Longest: MostLongest + time.Second})
	if err == nil || !strings.Contains(err.Error(), "24h0m1s: at most 24h0m0s") {
		t.Errorf("got %v", err)
	}
}
