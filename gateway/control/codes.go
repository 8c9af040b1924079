package control

import (
	"github.com/boothwire/boothwire/gateway/control/internal/machine"
	"github.com/boothwire/boothwire/keys"
)

// codesOfTokens are those with which a message is not believed, or a grant is not
// taken.
var codesOfTokens = []string{
	keys.ReasonMalformed, keys.ReasonTruncated, keys.ReasonOversized, keys.ReasonDuplicateKey, keys.ReasonTooDeep,
	keys.ReasonUnsigned, keys.ReasonForged, keys.ReasonWrongKind, keys.ReasonWrongIssuer, keys.ReasonUnknownSigner,
	keys.ReasonOutOfScope, keys.ReasonStaleEpoch, keys.ReasonWrongDevice, keys.ReasonWrongNode, keys.ReasonWrongRelay,
	keys.ReasonUnknownCrit, keys.ReasonUnsupported, keys.ReasonFlood, keys.ReasonRetained, keys.ReasonOutOfOrder,
	keys.ReasonNodeNotAllowed, keys.ReasonPortNotAllowed, keys.ReasonExpired, keys.ReasonReplayed, keys.ReasonUsedPrekey,
	keys.ReasonUnknownPrekey, keys.ReasonWrongBoot, keys.ReasonClosed, keys.ReasonBusy,
}

// codesOfEnds are those with which a session ends, whoever ends it.
var codesOfEnds = append([]string{
	machine.CodeNoPrekey, machine.CodeNodeUnreachable, machine.CodeNodeRefused, machine.CodeDeviceSilent, machine.CodeNoProof,
	machine.CodeRebooted, machine.CodeNodeClosed, machine.CodeDeviceClosed, machine.CodeInternal, codeNoDatabase, codeNoAddress,
	"lifetime", "idle", "hangup", "refused_by_host", "removed", "moved",
	"adapter", "overlap", "netstack", "tun", "socket", "wireguard",
	"unanswered", "node_deleted", "deleted", "replaced", "cancelled", "down", "refused", "line_down", "failed",
}, codesOfTokens...)
