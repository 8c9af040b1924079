// Package tunnel is one WireGuard tunnel inside this process. Up brings it up,
// Ready waits until an echo through it came back, Dial and Listen use it, Update
// changes it in place, Close takes it down and leaves nothing behind: no
// goroutine, socket, adapter, address or route. It leaves out how a grant is
// come by (package signaling) and how a path through NATs is found (package nat);
// of ours it imports package keys alone.
//
//	Up ──► connecting ──first echo answered──► connected ◄──any packet── degraded
//	            │                                   │                       ▲ │
//	            │                                   └──unanswered 1.5 s─────┘ │
//	            │            (unanswered for 5 s: the peer is put in anew)    │
//	            └─────────────┬─────────────────────┬─────────────────────────┘
//	                          │ Close               │ lifetime, idle, driver
//	                          ▼                     ▼
//	                    disconnecting ──►  disconnected or failed
//
// # Paths
//
// Packets go by one of the config's paths: known addresses of a node, a leg at a
// relay, a direct path that was found through NATs. The first that is there carries;
// a direct one takes over once a check and a packet have passed, without a loss,
// since both carry for a moment. While a check is lost or packets stay unanswered two
// paths carry every packet; one that goes on failing is left within 1.5 s, also by
// the end that still hears by it, and tried again for ever, later each time it fails
// again. A direct path that loses a tenth of its checks, or takes far longer than the
// relay, is left likewise. Status says which path it is and why, and what became of
// each other one. Addresses of nodes are tried in turn, another after 300 ms of
// silence, and the one that answers carries.
//
// # Reach
//
// Between WireGuard and the host stands a filter, in every mode: a device lets
// each operator reach the ports of his grant at the tunnel's own address, and
// lets replies out; an operator's end lets its own connections out to the
// device, and replies in. Nothing else passes, fragments included. The filter
// itself answers echo requests for the tunnel's address, before any host
// firewall. It also takes the renewals of a session between a device and an
// operator's own tool, which come to RenewPort (see Config.Renew and SendRenew).
//
// # Modes
//
// Adapter makes a network interface of the system's (Linux, as root or with
// CAP_NET_ADMIN), with a host route to each of the far side's addresses and
// nothing wider. Driverless needs no rights: a TCP/IP stack in this process
// answers at the tunnel's address, and forwards the granted ports to local
// services. Auto is an adapter for a device that names no Services, where one can
// be had, and driverless everywhere else: always at an operator's end, without
// rights, and on Windows and macOS, for which this package makes no adapter yet
// (a *DriverError with errors.ErrUnsupported when Mode is Adapter).
package tunnel
