// Package rdptest runs real RDP servers for Go tests, and shows what they serve: an X
// server whose pixels the test reads, FreeRDP's shadow server on it (NLA, RemoteFX), and
// xrdp before a VNC server (TLS). Each runs beside the test or inside a host of a lab,
// on loopback, and ends with the test.
//
// Without the programs, which make deps installs on Debian, a test is skipped with the
// reason, or failed where CI is set.
package rdptest
