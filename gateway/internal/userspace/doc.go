// Package userspace is a node's data plane without a kernel and without root:
// upstream wireguard-go decrypts, package reach decides, and what may pass goes
// back to wireguard-go to be encrypted for the other end, in the order and at the
// times that package shape says. No packet ever enters the host's own network stack.
package userspace
