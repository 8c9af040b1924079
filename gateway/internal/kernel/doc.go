// Package kernel is a node's data plane in the Linux kernel: its WireGuard encrypts,
// nftables decides what passes, traffic classes share the node's line, and no packet
// comes near this process. It needs CAP_NET_ADMIN.
//
//	device                                                       operator
//	   |                                                            |
//	wgd0 -> prerouting: from_device -> forward: guard -> up -> wgo0
//	wgd0 <- down <- guard :forward <- from_operator :prerouting <- wgo0
//
// There are two interfaces, one for devices and one for operators, so that whose
// packet it is needs no look at its address, and each direction has an egress of its
// own, whose queue shapes it. Reach is a set of tuples, matched both ways and
// without any state of connections: what is taken out of the set is cut at once.
//
// All of it stands in one nftables table and on these two interfaces. It outlives
// the process: the next Open finds it, Set leaves alone what is as it should be, and
// Settle takes away what nobody set again.
package kernel
