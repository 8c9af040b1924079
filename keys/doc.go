// Package keys holds what authority is made of: WireGuard keys that cannot
// print themselves, Ed25519 identities, one-time prekeys, and the signed
// objects (grants, asks, downs, statements of devices) with their
// verification. It opens no connection.
//
// # Signed objects
//
// Every signed object is a JSON Web Signature in compact form (RFC 7515) under
// the one algorithm "Ed25519" (RFC 9864). Its header says what it is (typ), in
// which deployment it counts (iss) and who signed:
//
//	control  alg typ kid=signer iss rec=record of that signer
//	record   alg typ kid=root           payload {iss kid key scope epoch}
//	roots    alg typ kid=root           payload {iss n roots}, signed by one of n-1 and one of n
//	device   alg typ kid=identity iss sub=device boot seq
//
// A verifier pins roots. A root signs the record of an online signer; the
// record travels in the header of everything that the signer signs, names the
// kinds that it may sign, and carries an epoch: one below the highest seen is
// refused, which is how a signer is revoked.
//
// Payloads and headers are read strictly: at most MaxToken bytes, one object,
// no name twice, exact case, at most 8 levels. Unknown fields of a payload are
// ignored unless its crit list names them; unknown fields of a header and
// every crit of a header refuse.
//
// # One-time keys
//
// A device publishes batches of WireGuard public keys whose private halves
// live in its memory only. A grant names one of them and thereby binds it to
// its session. Device.Accept is the only door: it checks all that can be
// checked and yields the private half. It never looks at the wall clock.
package keys
