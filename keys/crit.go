package keys

import "slices"

// known returns the fields that this release understands in a payload that
// control signs.
func known(typ string) []string {
	switch typ {
	case TypeGrant:
		return []string{"v", "caps", "session", "rev", "device", "boot", "re", "prekey", "addresses", "far", "operators",
			"relays", "stun", "up", "down", "lifetime_s", "idle_s", "end", "crit"}
	case TypeAsk:
		return []string{"session", "device", "nonce", "crit"}
	case TypeRenew:
		return []string{"session", "device", "rev", "lifetime_s", "end", "crit"}
	case TypeDown:
		return []string{"session", "device", "why", "crit"}
	}
	return nil
}

// critical refuses a payload whose crit list names a field that this release
// does not understand: that is how a later release adds what must not be
// ignored.
func critical(typ string, payload []byte) error {
	var p struct {
		Crit []string `json:"crit"`
	}
	if err := decode(payload, &p); err != nil {
		return err
	}
	fields := known(typ)
	for _, name := range p.Crit {
		if !slices.Contains(fields, name) {
			return refuse(ReasonUnknownCrit, "a field that this release does not know")
		}
	}
	return nil
}
