package config

import (
	"context"
	"encoding/hex"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel/agent"
)

// How often the RDP server is asked: until it has answered, and then, for its
// certificate changes now and then. What changed goes out with the next batch of keys.
const (
	rdpFirst = time.Minute
	rdpEvery = time.Hour
)

// FollowRDP has the device sign the certificate that its own RDP server shows, now and
// until ctx ends. It returns when the server was asked once.
func (c *Config) FollowRDP(ctx context.Context, device *keys.Device, log *zap.Logger) {
	if c.RDPServer == "" {
		return
	}
	var last [32]byte
	ask := func() (next time.Duration) {
		sum, err := agent.RDPCertificate(ctx, c.RDPServer)
		if err != nil {
			log.Warn("the device's RDP certificate is not known", zap.Error(err)) // what was signed stays
			return rdpFirst
		}
		if sum != last {
			last = sum
			device.Fingerprints(c.ssh, sum)
			log.Info("the device signs its RDP certificate", zap.String("sha256", hex.EncodeToString(sum[:])))
		}
		return rdpEvery
	}
	timer := time.NewTimer(ask())
	go func() {
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
				timer.Reset(ask())
			case <-ctx.Done():
				return
			}
		}
	}()
}
