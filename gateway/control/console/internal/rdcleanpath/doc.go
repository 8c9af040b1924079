// Package rdcleanpath reads and writes what a browser's RDP client and the console
// say to each other before RDP proper, and looks into the X.224 negotiation inside.
// It is pure: bytes in, values out.
//
// RDCleanPath lets the proxy connect to the RDP server and make the TLS handshake:
//
//	browser                         console                        device
//	   │ PDU: destination, auth, CR    │                              │
//	   ├──────────────────────────────►│ CR ─────────────────────────►│
//	   │                               │◄───────────────────────── CC │
//	   │                               │◄═══════ TLS handshake ══════►│
//	   │ PDU: CC, chain, address       │                              │
//	   │◄──────────────────────────────┤                              │
//	   │◄═══════ what is inside the TLS connection, CredSSP first ═══►│
//
// A PDU is one DER SEQUENCE whose fields carry explicit context tags:
//
//	[0] INTEGER version, 3390           [5] UTF8String preconnection blob
//	[1] SEQUENCE error                  [6] OCTET STRING X.224 CR or CC, in its TPKT
//	[2] UTF8String destination          [7] SEQUENCE OF OCTET STRING chain, leaf first
//	[3] UTF8String proxy auth           [9] UTF8String server address
//	[4] UTF8String server auth
//	error: [0] INTEGER kind, 1 general or 2 negotiation, [1] HTTP status,
//	       [2] WSA error, [3] TLS alert
//
// All but the version are optional. An empty field counts as one that is missing and
// is never written, so a PDU that is read has one encoding only.
package rdcleanpath
