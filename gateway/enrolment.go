package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/boothwire/boothwire/internal/strictjson"
	"github.com/boothwire/boothwire/keys"
)

// Enrolment is what control told a node when it enrolled, and the node kept.
type Enrolment struct {
	Name   string       `json:"name"`   // that grants call the node by
	Issuer string       `json:"issuer"` // the deployment
	Roots  []string     `json:"roots"`  // that vouch for grants
	Proof  netip.Addr   `json:"proof"`
	Pool   netip.Prefix `json:"pool"`
	// Pin is the base64url SHA-256 of the public key in control's certificate;
	// empty: its certificate is verified by its chain and name.
	Pin string `json:"pin,omitempty"`
}

func (e *Enrolment) check() error {
	switch {
	case !keys.ValidID(e.Name):
		return fmt.Errorf("gateway: enrolled with the name %q", e.Name)
	case len(e.Roots) == 0:
		return errors.New("gateway: enrolled without roots")
	case !e.Pool.IsValid() || !e.Pool.Contains(e.Proof):
		return fmt.Errorf("gateway: enrolled with proof address %v and pool %v", e.Proof, e.Pool)
	}
	return nil
}

// loadEnrolment returns nil without an error when the node has not enrolled.
func loadEnrolment(store keys.Store) (*Enrolment, error) {
	data, err := store.Load(nameEnrolment)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var e Enrolment
	if err == nil {
		err = strictjson.Unmarshal(data, &e)
	}
	if err != nil {
		return nil, fmt.Errorf("gateway: load the enrolment: %w", err)
	}
	return &e, e.check()
}

func (e *Enrolment) save(store keys.Store) error {
	data, err := json.Marshal(e)
	if err == nil {
		err = store.Save(nameEnrolment, data)
	}
	if err != nil {
		return fmt.Errorf("gateway: keep the enrolment: %w", err)
	}
	return nil
}
