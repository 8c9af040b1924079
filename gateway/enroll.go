package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
)

// EnrollConfig is what an enrolment may be told.
type EnrollConfig struct {
	// Claim is control's word that this node may enrol; required unless the store
	// holds an enrolment already.
	Claim string
	// Name that the node would like; empty: the claim's.
	Name string
	// Endpoints that control may give out until the node is followed; may be empty.
	Endpoints []netip.AddrPort
	// Version of the node's program; may be empty.
	Version string
	// HTTP carries proxies and the authorities that may vouch for control; nil: the
	// system's. A claim with a pin needs no authority.
	HTTP *http.Client
	// Logger, nil: silent.
	Logger *zap.Logger
}

// Enroll makes the node known to control, with the identity and the WireGuard key
// in store, which it makes if they are not there. The answer is kept in store, and
// a node that has enrolled is told it from there, without a claim or a request.
// Until ctx ends it tries again while control cannot be reached; a refusal is a
// *ControlError.
func Enroll(ctx context.Context, url string, store keys.Store, cfg *EnrollConfig) (*Enrolment, error) {
	var c EnrollConfig
	if cfg != nil {
		c = *cfg
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if e, err := loadEnrolment(store); e != nil || err != nil {
		return e, err
	}
	proof, err := parseClaim(c.Claim)
	if err != nil {
		return nil, err
	}
	id, err := keys.OpenIdentity(store, nameIdentity)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	key, err := openKey(store)
	if err != nil {
		return nil, err
	}
	link, err := newControl(url, c.HTTP, id, certificateName(c.Name), proof.pin)
	if err != nil {
		return nil, err
	}
	defer link.close()
	request := enrollRequest{Claim: proof.text, Name: c.Name, Key: key.Public(), Endpoints: c.Endpoints, Version: c.Version}
	if request.Endpoints == nil {
		request.Endpoints = []netip.AddrPort{}
	}
	e := &Enrolment{}
	for wait := newBackoff(); ; {
		err := link.post(ctx, pathEnroll, request, e)
		if err == nil {
			break
		}
		var refused *ControlError
		if errors.As(err, &refused) && refused.lasting() || errors.Is(err, errPin) {
			return nil, err
		}
		c.Logger.Warn("control cannot be reached", zap.Error(err))
		if err := wait.sleep(ctx); err != nil {
			return nil, err
		}
	}
	e.Pin = proof.pin
	if err := e.check(); err != nil {
		return nil, err
	}
	return e, e.save(store)
}

// OpenRoots returns the roots of the enrolment, which remember in store what they
// learn later.
func (e *Enrolment) OpenRoots(store keys.Store) (*keys.Roots, error) {
	return keys.OpenRoots(store, e.Issuer, e.Roots...)
}

// certificateName is the name in the node's certificate. Control goes by its key.
func certificateName(name string) string {
	if name == "" {
		return "boothwire-node"
	}
	return name
}
