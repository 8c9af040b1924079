// Package console is the fleet's back office in a browser: devices, sessions, nodes
// and audit, and the way into a device. It is a handler for /console/, mounted beside
// control, whose API it calls as whoever is signed in: it decides nothing itself.
//
// Its pages are templates and plain ES modules, embedded and complete without npm. The
// engines for remote desktop and terminal are not ours and are embedded when they are
// in web/engines; without them the pages say what to do.
//
//	browser ── cookie ──► login ──► pages, modules, dictionaries
//	                        │  ├──► /console/api/v1/… ── as the user ──► control's API
//	                        │  └──► rooms: what a page holds open at this console
//	                        └ ends ─► every stream and WebSocket of it ends
package console
