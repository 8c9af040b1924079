package signaling

// Action is what a command wants.
type Action string

const (
	Up    Action = "vpn_up"   // also written VPN_CONNECT
	Down  Action = "vpn_down" // also written VPN_DISCONNECT
	Ask   Action = "ask"
	Offer Action = "offer"
	Roots Action = "roots"
)

// parseAction accepts both spellings, exactly.
func parseAction(s string) (Action, bool) {
	switch a := Action(s); a {
	case Up, Down, Ask, Offer, Roots:
		return a, true
	case "VPN_CONNECT":
		return Up, true
	case "VPN_DISCONNECT":
		return Down, true
	}
	return "", false
}

// State is the "vpn" of a status.
type State string

const (
	Disconnected  State = "disconnected"
	Connecting    State = "connecting"
	Connected     State = "connected" // proved: an echo came back
	Degraded      State = "degraded"  // open, but the last proofs failed
	Disconnecting State = "disconnecting"
	Failed        State = "failed"
	Offline       State = "offline" // only in a will: the broker lost the device
)

// Stage is a rung of the ladder of a connect.
type Stage string

// The stages in their order. Received, Authorised, Closing and Closed are
// Serve's; the others are reached by the Handler.
const (
	Received   Stage = "received"   // the command came
	Authorised Stage = "authorised" // its signature holds
	Keyed      Stage = "keyed"      // the grant's prekey was accepted
	Socket     Stage = "socket"     // the tunnel is there
	Candidates Stage = "candidates" // a path is being looked for
	Handshake  Stage = "handshake"  // WireGuard's is done
	Proved     Stage = "proved"     // an echo came back
	Ready      Stage = "ready"      // proved, with forwards or routes in place
	Closing    Stage = "closing"
	Closed     Stage = "closed"
)

// The kinds of signed objects that this package names: the typ of a JWS.
const (
	typGrant  = "bw-grant"
	typDown   = "bw-down"
	typStatus = "bw-status"
	typReply  = "bw-reply"
)

// stages lists the ladder in its order.
func stages() [10]Stage {
	return [...]Stage{Received, Authorised, Keyed, Socket, Candidates, Handshake, Proved, Ready, Closing, Closed}
}

func (s Stage) valid() bool {
	for _, k := range stages() {
		if s == k {
			return true
		}
	}
	return false
}

func (s State) valid() bool {
	switch s {
	case Disconnected, Connecting, Connected, Degraded, Disconnecting, Failed, Offline:
		return true
	}
	return false
}
