// Package signaling is how control and a device talk: the messages, strict
// codecs for them, and Serve, which stands between a transport and a Handler
// that is called once per session. It opens no connection itself and knows no
// key: transports are Listeners and Senders, and what is signed goes through
// the interface Device, which keys.Device fills.
//
// # Messages
//
// Two topics belong to a device, or whatever a transport has instead:
//
//	iot/{device}/cmd     <- {"action":"vpn_up","server":"wg-bj-01"}
//	iot/{device}/status  -> {"vpn":"connected","ip":"10.166.0.5"}
//
// These two are the smallest valid messages. Everything else is an added field,
// and fields that are not known are ignored.
//
// A command (at most 8 KiB) has id, action, server, session, token and offer.
// The token is what counts: a compact JWS of control, or, for the action roots,
// the JSON object with two of them. An offer is base64url, sealed end to end.
// All the rest are hints: nothing is obeyed because of them.
//
//	action   token      what comes of it
//	vpn_up   bw-grant   a session opens, or goes on with a higher rev
//	vpn_up   none       the device requests a session (Config.Bare)
//	vpn_down bw-down    its session ends, even before its up
//	vpn_down bw-down    with "re": the request with that nonce is refused
//	vpn_down none       the session ends if a bare vpn_up began it
//	ask      bw-ask     a prekey for one session is published
//	roots    {"lists"}  the next list of roots comes into force
//	offer    none       goes to the open session
//
// A status (at most 4 KiB) has vpn, ip, session, re, code, prekeys, answer,
// request, offer and token. The token is the device's JWS over the same object
// with more in it (see [Status]), of one of two kinds:
//
//   - the document, kind bw-status, retained: how the device is, with its
//     prekeys. It is renewed before it is due, and at each change.
//   - a reply, kind bw-reply, not retained: what came of the command whose id
//     is "re". A reply with a count is a refusal.
//
// Prekeys, answers and requests are tokens of their own, beside it.
package signaling
