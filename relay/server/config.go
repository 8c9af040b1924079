package server

import (
	"crypto/tls"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
)

// Config is what an operator of a relay decides. Its zero value works but for TLS;
// nil means the same.
type Config struct {
	// TLS is Serve's; required there, copied, TLS 1.3 from then on. Its GetConfigForClient
	// and GetCertificate run while the client holds one of the few places of handshakes
	// that compute at once, two for each processor, so they must not wait for anything.
	TLS   *tls.Config
	Drain time.Duration // from the end of Serve's ctx until legs are cut; default 5 s
	Legs  int           // at once; default 20,000
	Open  int           // connections at once that have not proved a key; default 1,024
	PerIP int           // of those from one address (an IPv6 /64); default 64
	// Waiting bounds the connections of Serve beyond Open and PerIP, which wait for their
	// turn with nothing read from them; default Legs. One address has 16 times PerIP.
	Waiting int
	Alone   time.Duration // that every leg may wait for the other one; default 30 s
	// Lone legs wait longer, until their token's end: a node's for a device that has
	// come by UDP so far, and may need the relay at any moment. Those beyond these
	// bounds are cut after Alone and dial again. Negative: none.
	Lone      int       // at once; default half of Legs
	LonePerIP int       // of those from one address (an IPv6 /64); default a quarter of Lone
	Rate      keys.Rate // bound of each session direction, below its token's; 0: none
	// RateTotal bounds what all sessions send together, in equal shares for those that
	// want more than there is; 0: nothing does. After a change of who wants what it
	// takes some seconds to hold.
	RateTotal keys.Rate
	Ended     func(Record) // told of each session that had two legs; must not block
	Other     http.Handler // of every other request; default 404
	// Now is the clock that tokens end by; default time.Now.
	Now    func() time.Time
	Logger *zap.Logger // default silent
}

const (
	proveFor   = 5 * time.Second // from the connection to the proof
	waitPerIP  = 16              // times Config.PerIP
	maxHeader  = 8 << 10         // bytes of a request: a token has about one thousand
	replaceFor = time.Minute
	replaceMax = 5 // generations of one leg in replaceFor
)

func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	def := func(v *int, n int) {
		if *v <= 0 {
			*v = n
		}
	}
	def(&d.Legs, 20_000)
	def(&d.Open, 1024)
	def(&d.PerIP, 64)
	def(&d.Waiting, d.Legs)
	if d.Lone == 0 {
		d.Lone = (d.Legs + 1) / 2
	}
	if d.LonePerIP == 0 {
		d.LonePerIP = (d.Lone + 3) / 4
	}
	if d.Drain <= 0 {
		d.Drain = 5 * time.Second
	}
	if d.Alone <= 0 {
		d.Alone = 30 * time.Second
	}
	if d.Other == nil {
		d.Other = http.NotFoundHandler()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Logger == nil {
		d.Logger = zap.NewNop()
	}
	return d
}

// A Record is what a relay knows of a session that ended: a pair of keys of it.
type Record struct {
	Session    string
	Code       string // why: ended, revoked, cloned, gone, draining
	From       time.Time
	Paired     time.Duration // with both legs there
	Bytes      [2]uint64     // that each end sent, as frames
	Dropped    [2]uint64     // of those, for want of room, time or another leg
	Replaced   int           // legs by a later generation
	WebSockets int           // legs that were one
}
