package control

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/boothwire/boothwire/keys"
)

// checkWays refuses relays and STUN servers that no grant could name.
func checkWays(relays []Relay, stun []string) error {
	if len(relays) > maxRelays || len(stun) > maxSTUN {
		return fmt.Errorf("at most %d relays and %d STUN servers fit", maxRelays, maxSTUN)
	}
	names := make(map[string]bool)
	for _, r := range relays {
		if err := r.Check(); err != nil {
			return fmt.Errorf("relay %q: %w", r.Name, err)
		}
		if names[r.Name] {
			return fmt.Errorf("two relays are called %q", r.Name)
		}
		names[r.Name] = true
	}
	for _, s := range stun {
		if err := CheckSTUN(s); err != nil {
			return fmt.Errorf("STUN server %q: %w", s, err)
		}
	}
	return nil
}

// maxURL bounds the URL of a relay, of which a grant has several.
const maxURL = 256

// Check says what is wrong with r.
func (r Relay) Check() error {
	u, err := url.Parse(r.URL)
	switch {
	case !keys.ValidID(r.Name):
		return errors.New("a name is 1 to 64 of letters, digits, '.', '_' and '-'")
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(r.URL) > maxURL:
		return errors.New("a URL is written https://relay.example.com/relay")
	case r.Key.IsZero():
		return errors.New("a relay has a public key")
	}
	return nil
}

// CheckSTUN says what is wrong with the address of a STUN server.
func CheckSTUN(s string) error {
	host, port, err := net.SplitHostPort(s)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 || len(s) > maxURL {
		return errors.New("an address is written stun.example.com:3478")
	}
	return nil
}
