package keys

import (
	"math"
	"time"
)

// MaxRenew is the longest renewal that is read or signed, in bytes: it travels in
// one datagram through the tunnel that it prolongs.
const MaxRenew = 1000

// Renew is control's word that a session between a device and an operator's own
// tool goes on. On the wire Lifetime is whole seconds and End is Unix seconds.
type Renew struct {
	Session string `json:"session"`
	Device  string `json:"device"`
	Rev     int    `json:"rev"` // of the session's latest grant

	// Lifetime takes the place of the grant's and counts as that one does, from the
	// acceptance of the session's first revision. The same renewal again therefore
	// prolongs nothing.
	Lifetime time.Duration `json:"-"`
	// End is the absolute end for the operator's tool. Devices, whose clocks are not
	// trusted, ignore it.
	End time.Time `json:"-"`
}

type renewFields Renew

type renewWire struct {
	renewFields
	Lifetime int64 `json:"lifetime_s"`
	End      int64 `json:"end,omitempty"`
}

func (r Renew) wire() *renewWire {
	w := &renewWire{renewFields: renewFields(r), Lifetime: int64(r.Lifetime / time.Second)}
	if !r.End.IsZero() {
		w.End = r.End.Unix()
	}
	return w
}

// SignRenew makes the token of r, of at most MaxRenew bytes: a deployment's name
// and a signer's name of more than some 20 characters leave no room for a device's
// of 64. Errors are *GrantError.
func SignRenew(s *Signer, r Renew) ([]byte, error) {
	w := r.wire()
	if err := w.check(); err != nil {
		return nil, err
	}
	token, err := s.Sign(TypeRenew, encode(w))
	if err == nil && len(token) > MaxRenew {
		return nil, refuse(ReasonOversized, "a renewal of %d bytes, at most %d", len(token), MaxRenew)
	}
	return token, err
}

func (w *renewWire) check() error {
	const most = int64(math.MaxInt64 / time.Second)
	switch {
	case !ValidID(w.Session) || !ValidID(w.Device):
		return refuse(ReasonMalformed, "a renewal without a session or device")
	case w.Rev < 1:
		return refuse(ReasonMalformed, "a renewal without a revision")
	case w.Lifetime < 1 || w.Lifetime > most || w.End < 0:
		return refuse(ReasonMalformed, "a renewal with a time out of range")
	}
	return nil
}

func decodeRenew(payload []byte) (*Renew, error) {
	var w renewWire
	if err := decode(payload, &w); err != nil {
		return nil, err
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	r := Renew(w.renewFields)
	r.Lifetime = time.Duration(w.Lifetime) * time.Second
	if w.End != 0 {
		r.End = time.Unix(w.End, 0).UTC()
	}
	return &r, nil
}

// VerifyRenew is Verify for a renewal, and reads it. Whether it is about the
// caller's session is left to the caller or to Device.Renew.
func (r *Roots) VerifyRenew(token []byte) (*Renew, error) {
	if len(token) > MaxRenew {
		return nil, refuse(ReasonOversized, "a renewal of %d bytes, at most %d", len(token), MaxRenew)
	}
	payload, err := r.Verify(TypeRenew, token)
	if err != nil {
		return nil, err
	}
	return decodeRenew(payload)
}

// Renew takes a renewal of a session that Accept accepted, whose far end is an
// operator's own tool, and returns how long the session may last from the
// acceptance of its first revision: at most Trust.Longest. The same renewal again
// gets the same answer; one that is older than the grant or the renewal in force
// is refused, and so is every one after End. Errors are *GrantError, and a refused
// renewal changes nothing.
func (d *Device) Renew(token []byte) (time.Duration, error) {
	if len(token) > MaxRenew {
		return 0, refuse(ReasonOversized, "a renewal of %d bytes, at most %d", len(token), MaxRenew)
	}
	payload, err := d.Verify(TypeRenew, token)
	if err != nil {
		return 0, err
	}
	r, err := decodeRenew(payload)
	if err != nil {
		return 0, err
	}
	if d.trust.Longest > 0 {
		r.Lifetime = min(r.Lifetime, d.trust.Longest)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sessions[r.Session]
	switch {
	case s == nil:
		return 0, refuse(ReasonClosed, "its session is not open")
	case s.node:
		return 0, refuse(ReasonUnsupported, "a session through a node has grants only")
	case r.Rev < s.rev || r.Lifetime < s.lifetime:
		return 0, refuse(ReasonReplayed, "older than what is in force")
	}
	s.lifetime = r.Lifetime
	return r.Lifetime, nil
}
