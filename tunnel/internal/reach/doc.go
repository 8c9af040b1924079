// Package reach stands between WireGuard and a host's network stack and lets
// through what one grant says and nothing else. A Filter is pure: packets and
// times in, verdicts out. A Device puts it around a tun.Device, answers echoes
// before any host firewall sees them and sends the tunnel's own.
//
//	          WireGuard
//	 Write │           ▲ Read
//	       ▼           │
//	┌──────────────────┴──────┐  echo request ─► answered here
//	│         Filter          │  echo reply to our own ─► Proofs
//	│  rules ── flows ── sums │  neither granted nor a reply ─► dropped, counted
//	└──────┬──────────────────┘  a session's renewal ─► Renewals
//	       ▼           ▲
//	 adapter or netstack
//
// A device lets its operators reach the ports granted to each of them, and lets
// replies out. An operator's end lets its own connections out to the device, and
// replies in. Fragments pass neither way: both ends agree on an MTU, so only a
// datagram larger than it would come in pieces.
package reach
