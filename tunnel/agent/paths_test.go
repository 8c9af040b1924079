package agent

import (
	"testing"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel"
)

// A leg is shown the later tokens of its own two keys alone.
func TestSamePair(t *testing.T) {
	own, far := keys.NewPrivateKey(), keys.NewPrivateKey().Public()
	pair := func(own keys.PrivateKey, far keys.PublicKey) *tunnel.Config {
		return &tunnel.Config{Key: own, Far: tunnel.Peer{Key: far}}
	}
	s := &session{a: new(Agent)}
	if s.samePair(pair(own, far)) {
		t.Error("without a tunnel")
	}
	s.cfg = pair(own, far)
	for _, test := range []struct {
		cfg  *tunnel.Config
		want bool
	}{
		{pair(own, far), true},
		{pair(keys.NewPrivateKey(), far), false},
		{pair(own, keys.NewPrivateKey().Public()), false},
	} {
		if got := s.samePair(test.cfg); got != test.want {
			t.Errorf("got %v, want %v", got, test.want)
		}
	}
}
