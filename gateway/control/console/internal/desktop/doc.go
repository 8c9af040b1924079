// Package desktop brings a device's RDP desktop into a browser, by one of two engines:
//
//	IronRDP (inside the browser)           Guacamole (guacd, where one is configured)
//
//	browser ── RDCleanPath, RDP ──┐        browser ── instructions ──┐
//	                           console                            console ── instructions ──► guacd
//	device ◄── TCP, TLS ──────────┘        device ◄── TCP ───────────┴── one-shot forwarder ◄── RDP
//
// Whichever it is: who comes shows a connect code, and with it comes a tab, by which
// the device of one session is dialled. No address, name or port that a browser says is
// ever used. The console makes the TLS handshake with the device itself, if only to
// look, and the certificate has to be the one whose SHA-256 the device signed.
//
// A connection ends with its tab: when the login, the session or its user's part in it
// does. The WebSocket's close code is 4000 and a status of HTTP, its reason a stable
// word; 1000 is the desktop's own end.
package desktop
