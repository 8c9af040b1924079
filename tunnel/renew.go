package tunnel

import (
	"errors"
	"fmt"

	"github.com/boothwire/boothwire/tunnel/internal/reach"
)

// RenewPort is the UDP port of a device's tunnel address to which SendRenew sends. The
// device's end takes what comes there before any host does (see Config.Renew).
const RenewPort = reach.RenewPort

// MaxRenew is the longest renewal that SendRenew sends, in bytes.
const MaxRenew = reach.MaxRenew

// SendRenew sends, at an operator's end, control's word that the session goes on to
// the device at the other end, whose Config.Renew gets it. It is one packet, which may
// be lost without an error: whoever sends it looks whether it has worked. A token that
// is empty or longer than MaxRenew is refused, and so is a call at a device's end, with
// errors.ErrUnsupported.
func (t *Tunnel) SendRenew(token []byte) error {
	select {
	case <-t.ctx.Done():
		return t.reason()
	default:
	}
	c := t.config()
	switch {
	case c.Role != Operator:
		return fmt.Errorf("tunnel: a device sends no renewals: %w", errors.ErrUnsupported)
	case len(token) == 0 || len(token) > MaxRenew:
		return fmt.Errorf("tunnel: a renewal of %d bytes, at most %d", len(token), MaxRenew)
	}
	if !t.gate.Send(reach.AppendRenew(nil, from(c.Addresses, c.Far.Proof), c.Far.Proof, token)) {
		return errors.New("tunnel: too many packets wait to be sent")
	}
	return nil
}

// takeRenewals hands over what arrives, one after the other.
func (t *Tunnel) takeRenewals() {
	for {
		select {
		case token := <-t.filter.Renewals():
			if renew := t.config().Renew; renew != nil {
				renew(token)
			}
		case <-t.ctx.Done():
			return
		}
	}
}
