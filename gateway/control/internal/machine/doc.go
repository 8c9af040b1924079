// Package machine decides what control does about one session. It is pure: time
// and what happened come in, actions come out; it starts no goroutine, reads no
// clock and signs nothing.
//
//	         no prekey                       node: installed
//	start ──────────────► asking ─┐      ┌──────────────────────┐
//	  │ prekey              │     │answer│                      ▼
//	  └─────────────────────┼─────┴──► installing           waking ──┐ every 5 s, same command,
//	                        │             │   ▲                │  ◄──┘ until the device's reply
//	     3 tries, 10 s      │ 5 s, refused│   │ stale prekey,  │ reply
//	                        │             │   │ once: ask      ▼
//	                        ▼             ▼   └────────────  proving
//	                     ┌──────────────────┐    60 s          │ device: ready, and node: proved
//	                     │      failed      │ ◄────────────────┤
//	                     └──────────────────┘                  ▼
//	                              ▲                        connected ◄──► degraded
//	                              │ rebooted, failed there     │
//	                              └────────────────────────────┤ close, end, closed by device or node
//	                                                           ▼
//	                                     closed ◄────────── closing
//	                                       device and node said so, or the grant's end came
//
// A later revision (a second operator, a new end, a fresh key) goes the same way
// from installing, beside the state, which it does not change: the node has it
// before the device hears of it.
//
// A session without a node goes from its revision to waking at once, and is
// connected and closed by the device's word alone.
//
// A failed session is cleaned up like a closing one, but its state says at once
// that it failed.
package machine
