package userspace

import (
	"testing"

	"github.com/boothwire/boothwire/gateway/internal/planetest"
)

func TestContract(t *testing.T) {
	s := planetest.Subject{
		Open: func(t testing.TB, cfg planetest.Config) planetest.Plane {
			p, err := Open(Config{
				PrivateKey: cfg.PrivateKey, Proof: cfg.Proof, MTU: cfg.MTU, Patience: cfg.Patience,
				Handshake: cfg.Handshake, Proved: cfg.Proved, Uplink: cfg.Uplink,
			})
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
	}
	planetest.Run(t, s)
	planetest.Rates(t, s)
}
