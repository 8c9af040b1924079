// Package planetest is the contract of a node's data plane: one suite that every
// plane passes. It sees a plane only from outside. Its clients are wireguard-go,
// over a TUN of this process's memory, and reach the plane by its UDP ports on
// 127.0.0.1; so a plane of the kernel's is tried as one of this process is.
//
// Nothing in it depends on how fast the machine is: it waits for what must come,
// and calls absent what has not come when a later packet has, on the same way.
package planetest
