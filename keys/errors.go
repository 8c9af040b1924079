package keys

import (
	"errors"
	"fmt"

	"github.com/boothwire/boothwire/internal/strictjson"
)

// Reasons why something signed is refused: the codes of every part of
// boothwire. Those that this package does not use itself are for the parts
// that check what it cannot.
const (
	ReasonMalformed      = "malformed"        // not what its kind looks like
	ReasonTruncated      = "truncated"        // JSON that ends within an object
	ReasonOversized      = "oversized"        // longer than its limit
	ReasonDuplicateKey   = "duplicate_key"    // a JSON object names a field twice
	ReasonTooDeep        = "too_deep"         // JSON nested beyond 8 levels
	ReasonUnsigned       = "unsigned"         // no signature, or algorithm none
	ReasonForged         = "forged"           // the signature does not match
	ReasonWrongKind      = "wrong_kind"       // another typ
	ReasonWrongIssuer    = "wrong_issuer"     // another deployment
	ReasonUnknownSigner  = "unknown_signer"   // no root vouches for the signer
	ReasonOutOfScope     = "out_of_scope"     // the signer may not sign this kind
	ReasonStaleEpoch     = "stale_epoch"      // the signer's record was superseded
	ReasonWrongDevice    = "wrong_device"     // it names another device
	ReasonWrongNode      = "wrong_node"       // it names another node
	ReasonNodeNotAllowed = "node_not_allowed" // the host does not allow that node
	ReasonPortNotAllowed = "port_not_allowed" // the host does not allow that port
	ReasonWrongRelay     = "wrong_relay"      // it names another relay
	ReasonExpired        = "expired"          // past its absolute end
	ReasonReplayed       = "replayed"         // an earlier rev, or the same with other content
	ReasonUsedPrekey     = "used_prekey"      // its prekey belongs to another session
	ReasonUnknownPrekey  = "unknown_prekey"   // its prekey is not, or no longer, of this device
	ReasonWrongBoot      = "wrong_boot"       // its prekey is of another boot
	ReasonClosed         = "closed"           // its session is over
	ReasonUnknownCrit    = "unknown_crit"     // it insists on something unknown
	ReasonBusy           = "busy"             // too many sessions are open
	ReasonFlood          = "flood"            // too many in too short a time
	ReasonRetained       = "retained"         // a retained command
	ReasonUnsupported    = "unsupported"      // not in this release, another algorithm for one
	ReasonOutOfOrder     = "out_of_order"     // a list that is not the next one
)

// GrantError says why a grant, or anything else that is signed, was refused.
type GrantError struct {
	Reason string // one of the Reason constants
	Err    error  // more about it, may be nil
}

func (e *GrantError) Error() string {
	if e.Err == nil {
		return "keys: " + e.Reason
	}
	return "keys: " + e.Reason + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *GrantError) Unwrap() error { return e.Err }

// Code returns the reason.
func (e *GrantError) Code() string { return e.Reason }

// refuse makes a *GrantError; what is formatted must not be secret.
func refuse(reason, format string, a ...any) error {
	return &GrantError{Reason: reason, Err: fmt.Errorf(format, a...)}
}

// refuseJSON turns an error of strictjson into a *GrantError.
func refuseJSON(err error) error {
	var e *strictjson.Error
	if errors.As(err, &e) {
		return &GrantError{Reason: e.Reason, Err: e.Err}
	}
	return &GrantError{Reason: ReasonMalformed, Err: err}
}
