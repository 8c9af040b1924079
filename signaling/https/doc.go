// Package https carries signalling over HTTPS: a device waits for its commands in a
// long poll and posts its statuses, so that a site that lets only HTTPS out still wakes.
// It moves bytes and proves who asks; what a command means, and the queue that holds it
// between two polls, are its callers'.
//
// # Wire
//
//	GET  {prefix}v1/devices/{id}/commands?after=N&epoch=E&wait=S
//	     200  one command in the body, its number in Boothwire-Command
//	     204  none came within S seconds
//	POST {prefix}v1/devices/{id}/status?retain=1
//	     204  taken
//
// retain=1 marks the device's document, the status that a broker would keep; [Sender]
// keeps none, for its reader does.
//
// Both answers to a poll name the queue's epoch in Boothwire-Epoch. Numbers count up within an
// epoch. after=N says that every command up to N was delivered, and may be forgotten; a
// queue of another epoch than E reads N as 0, so a server that lost its queue is never
// taken for one that has nothing new.
//
// Every request proves the device's identity:
//
//	Authorization: Boothwire-Ed25519 NONCE.SIGNATURE
//
// SIGNATURE is base64url of Ed25519 by the device's identity key over these lines, the
// last without a newline:
//
//	boothwire-https-v1
//	{device id}
//	{NONCE}
//	{method}
//	v1/devices/{id}/{commands|status}?{query as sent}
//	{SHA-256 of the body, hexadecimal}
//
// The signed path begins behind the prefix, so a proxy may mount the service where it
// likes. The server makes the nonces: each is for one device, lasts [NonceLife] of the
// server's own monotonic clock and is good for one request. A response carries the next
// ones in Boothwire-Nonce (two beside a command poll: one for the poll that follows, one
// for a status in between); a request without a good one gets 401 with fresh ones.
//
// Other refusals: 400 malformed, 403 not this device or not known, 413 too large, 429 and
// 503 later. Bodies are at most [signaling.MaxCommand] and [signaling.MaxStatus] bytes.
// Redirects are not followed.
package https
