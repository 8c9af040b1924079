// Package packet reads and writes the few parts of IP packets that a filter
// and a proof need: addresses, TCP and UDP ports, TCP flags and ICMP echoes.
// Nothing in it allocates per packet, and nothing in it keeps state.
package packet
