// Package terminal is a shell on a device in a WebSocket.
//
// The page speaks first:
//
//	page                                    console
//	  │ text {"code":…,"cols":…,"rows":…}      │ redeemed once
//	  │◄──────────── text {"signin":{…}} ──────┤ only where nobody is signed in yet,
//	  │ text {"signin":{"user":…,…}}           │   again after a refusal
//	  │◄──────────── text {"prompt":{…}} ──────┤ what the server asks
//	  │ text {"answers":["…"]}                 │
//	  │◄──────────── text {"ready":{…}} ───────┤ signed in, and the shell is there
//	  │ binary: keystrokes                     │
//	  │◄──────────── binary: output ───────────┤
//	  │ text {"ack":n}   text {"resize":{…}}   │ n more bytes of output were shown
//	  │◄──────────── text {"ack":n} ───────────┤ n more keystrokes went to the shell
//	  │◄──────────── text {"exit":{…}} ────────┤
//	  │◄──────────── close, with a code ───────┤
//
// Each side keeps at most Window bytes on the way that the other has not acknowledged.
// With "files":true in the first message no shell is opened: the socket signs in for
// the files page, and says when the connection is over.
package terminal

// Window is how many bytes may be on the way in each direction: at a round trip of
// 100 ms it lets 5 MB/s through.
const Window = 512 << 10
