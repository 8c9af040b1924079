// Package reach decides which packets of a node's sessions may pass: an
// operator's to the granted ports of the granted device, that device's replies,
// echoes between the two, and echoes to the node itself. Everything else is
// dropped and counted. It is pure: packets and a time in, verdicts out; it opens
// nothing, starts nothing and reads no clock. A data plane that filters elsewhere
// (nftables) takes the same Session values and nothing more from it.
//
//	operator -> device   TCP and UDP to a granted port; echo requests
//	device -> operator   TCP and UDP of a flow that the operator began, never a
//	                     bare SYN; replies to his echo requests
//	member -> node       echo requests to the proof address
//	anything else        dropped: device to device, operator to operator, either
//	                     to another session, fragments, IP options, other protocols,
//	                     TCP flags that no honest stack sends together
package reach
