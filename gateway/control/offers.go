package control

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

const (
	keepOffers = 16 // of a device, for an operator who is late
	keepSent   = 8  // of an operator, until the device has the session

	// Offers come in bursts, when a search for a path begins.
	offersBurst   = 8
	offersRate    = 2 // a second, of an operator: each is a command to the device
	receivedBurst = 32
	receivedRate  = 8 // a second, of a device: whoever can publish on its topic could send them
)

// offers are the sealed candidates that the two ends of a session tell each other.
// They are sealed with a key that control cannot know, so nothing is verified here.
type offers struct {
	in      []client.Offer // of the device, the latest last
	last    uint64         // number of the last of in; the others' precede it
	changed chan struct{}  // closed at each
	out     [][]byte       // of the operator, sent before the device had the session

	received, sent allowance
}

func (o *offers) init(now time.Time) {
	o.changed = make(chan struct{})
	o.last = uint64(now.UnixMicro()) // higher than what was seen before a restart
	o.received, o.sent = allowance{receivedBurst, now}, allowance{offersBurst, now}
}

func (o *offers) forget() { o.in, o.out = nil, nil }

// allowance is a token bucket.
type allowance struct {
	left float64
	at   time.Time
}

func (a *allowance) take(now time.Time, rate, burst float64) bool {
	a.left = min(burst, a.left+max(0, now.Sub(a.at).Seconds())*rate)
	a.at = now
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}

// sendOffer passes an operator's offer on to the device.
func (c *Control) sendOffer(u User, id, text string) error {
	s, err := c.theirs(u, id)
	if err != nil {
		return err
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	switch {
	case err != nil || len(sealed) == 0:
		return fail(http.StatusUnprocessableEntity, keys.ReasonMalformed, "an offer is base64url without padding")
	case len(sealed) > client.MaxOffer:
		return fail(http.StatusUnprocessableEntity, keys.ReasonOversized, "an offer has at most "+itoa(client.MaxOffer)+" bytes")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.m.Ended():
		return fail(http.StatusConflict, keys.ReasonClosed, "the session is over")
	case !s.m.Woken:
		return fail(http.StatusConflict, "opening", "the session is not open yet")
	case !s.offers.sent.take(c.cfg.Now(), offersRate, offersBurst):
		return fail(http.StatusTooManyRequests, keys.ReasonFlood, "too many offers in too short a time")
	}
	if s.m.Acked == 0 {
		s.offers.out = append(s.offers.out, sealed)
		if len(s.offers.out) > keepSent {
			s.offers.out = s.offers.out[1:]
		}
	} else {
		s.offers.out = nil
	}
	c.passOffer(s, sealed, false)
	return nil
}

func (c *Control) passOffer(s *session, sealed []byte, all bool) {
	c.send(s.dev, all, signaling.Command{Action: signaling.Offer, Session: s.id, Offer: sealed})
}

// offerAgain sends behind a repeated command what came to nothing without it; mu is
// held.
func (c *Control) offerAgain(s *session) {
	for _, sealed := range s.offers.out {
		c.passOffer(s, sealed, true)
	}
}

// offeredBy takes an offer that came on a device's topic; mu is held.
func (c *Control) offeredBy(d *device, st *signaling.Status, now time.Time) {
	s := d.session
	if s == nil || !s.endToEnd || s.id != st.Session || s.m.Ended() || len(st.Offer) > client.MaxOffer {
		return
	}
	if !s.offers.received.take(now, receivedRate, receivedBurst) {
		c.refuse(now, d.row.ID, keys.ReasonFlood, nil)
		return
	}
	o := client.Offer{Sealed: base64.RawURLEncoding.EncodeToString(st.Offer)}
	if slices.Contains(s.offers.in, o) {
		return // a transport may say a thing twice
	}
	s.offers.in = append(s.offers.in, o)
	if len(s.offers.in) > keepOffers {
		s.offers.in = s.offers.in[1:]
	}
	s.offers.last++
	close(s.offers.changed)
	s.offers.changed = make(chan struct{})
}

// watchOffers returns the kept offers with numbers above after once there is one.
func (c *Control) watchOffers(ctx context.Context, u User, id string, after uint64) ([]client.Offer, uint64, error) {
	for {
		s, err := c.theirs(u, id)
		if err != nil {
			return nil, 0, err
		}
		c.mu.Lock()
		last, offered, changed := s.offers.last, s.offers.changed, s.changed
		var list []client.Offer
		if after > last {
			after = 0 // another process gave that number, whose clock was ahead
		}
		if last > after {
			news := min(last-after, uint64(len(s.offers.in)))
			list = slices.Clone(s.offers.in[len(s.offers.in)-int(news):])
		}
		c.mu.Unlock()
		if len(list) > 0 {
			return list, last, nil
		}
		select {
		case <-offered:
		case <-changed:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-c.ctx.Done():
			return nil, 0, c.ctx.Err()
		}
	}
}
