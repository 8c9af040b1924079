// Package worker holds the simulated devices: each is a tunnel/agent, the product's
// own, with an identity, an MQTT connection and, in a session, a UDP socket on a
// loopback address of its own. A process has room for some thousands, so the program
// runs itself again, several times, and speaks JSON lines with those runs: orders on
// standard input, figures on standard output.
package worker
