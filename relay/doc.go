// Package relay carries the packets of one tunnel through a relay, for the ends
// that no UDP path joins. This package is the protocol and its client; package
// relay/server is the relay. A relay is no switch: it pairs the two legs of a
// session whose tokens name the same two keys and forwards between them only. What
// it forwards is WireGuard's ciphertext.
//
// A leg is one TLS 1.3 connection to port 443:
//
//	client                                            relay
//	  GET /relay, Upgrade: boothwire-relay/1 ──────────►
//	      Boothwire-Token: JWS of control (keys.Token)
//	  ◄──────────────────────── 101, Boothwire-Nonce: 32 bytes, base64url
//	  PROOF, and packets if there are any ─────────────►
//	  ◄────────────────────────────────────────── READY
//	  frames ◄─────────────────────────────────► frames
//
// or a refusal: a status of 400 and above with {"code", "detail"} in JSON. Where
// something on the way answers for the relay, the client asks again by WebSocket
// (RFC 6455, subprotocol boothwire-relay.1), whose binary messages carry the same
// frames, many to a message.
//
// A frame is a big-endian u16 and as many bytes: a packet of 1 to 16,384 bytes, or,
// with the highest bit set, a control frame of 1 to 4,096, the first of which is its
// type:
//
//	from the client                       from the relay
//	 1 PROOF   u64 generation, MAC        16 READY  u8: the other leg is there
//	 2 TOKEN   a later token              17 PEER   u8: the other leg came, or went
//	 3 PING    8 bytes                    18 PONG   the same
//	 4 ECHO    8 bytes, to the other leg  19 DRAIN  u32: milliseconds until it closes
//	 5 ECHO_REPLY  the same, back         20 BYE    a code of a-z and _
//
// The relay passes ECHO and ECHO_REPLY on. A type that is not known is skipped.
//
// The MAC is HMAC-SHA256 under keys.PrivateKey.RelaySecret of the nonce, the
// token's SHA-256, the leg (one byte) and the generation. A leg of a higher
// generation takes the place of the one that is there, and one of the same or a lower
// does not; more than five in a minute are two machines with one key, and end the
// session. The relay wants the proof within five seconds of the connection, and drops
// packets until both legs are there. A leg may wait for the other one until its token
// ends; a relay where very many do lets a further one wait for half a minute only.
//
// The codes of a BYE and of a refusal are keys' reasons for a token, and bad_proof,
// malformed, slow, wrong_session (a later token of another one), superseded, cloned,
// revoked, ended (the token's end), alone (nobody came), full and draining.
package relay
