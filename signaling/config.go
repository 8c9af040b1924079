package signaling

import (
	"slices"
	"strings"
	"time"
)

// Config says how Serve behaves. The zero value works.
type Config struct {
	// Bare are the nodes that a bare vpn_up may ask for: it makes the device
	// request a session there, and control decides. None: bare commands are
	// refused.
	Bare []string
	// Due is how long a document counts, at most; it is renewed before. 0 is
	// 15 minutes; less than 1 second is 1 second.
	Due time.Duration
	// Version of the software and Caps, what it can do beyond its version,
	// stand in the document: at most 64 bytes, and 16 words of at most 32.
	Version string
	Caps    []string
	// NAT says what the network that the device is on is, in the terms of RFC 4787: one
	// or two words of small letters, digits and '_', at most 64 bytes with a '/' between
	// them, or nothing. It is called for each document and must not block. Default:
	// nothing is said.
	NAT func() string
	// Checks says what the device found of its host: at most 16, and none that is not as
	// Check has it; details that are not are left out. It is called for each document and must not block. Default: nothing
	// is said.
	Checks func() []Check
	// Changed has the document published again, soon, for each value that comes, because
	// what NAT or Checks say has changed. Default: never.
	Changed <-chan struct{}
	// Observe is told what a log should know. It is called by one goroutine at
	// a time and must not block, nor call the Session.
	Observe func(Notice)
}

const (
	defaultDue = 15 * time.Minute
	ourCaps    = 16 // words: the document must fit into MaxStatus with them
)

func (c *Config) withDefaults() Config {
	var out Config
	if c != nil {
		out = *c
	}
	out.Bare = slices.Clone(out.Bare)
	if out.Due == 0 {
		out.Due = defaultDue
	}
	out.Due = min(max(out.Due, time.Second), maxNext*time.Second).Truncate(time.Second)
	out.Version = strings.ToValidUTF8(out.Version[:min(len(out.Version), 64)], "")
	out.Caps = slices.DeleteFunc(slices.Clone(out.Caps), func(w string) bool { return !validCode(w) })
	out.Caps = out.Caps[:min(len(out.Caps), ourCaps)]
	if out.Observe == nil {
		out.Observe = func(Notice) {}
	}
	return out
}

// The kinds of a Notice.
const (
	NoticeRefused  = "refused"   // commands were refused: the first of a code in a minute, or the rest of that minute
	NoticeLineUp   = "line_up"   // the transport is connected
	NoticeLineDown = "line_down" // it no longer is
)

// Notice is something that happened in Serve.
type Notice struct {
	At      time.Time
	Kind    string
	Code    string // of a refusal
	Session string // that the refused command's token names, if its signature holds
	Err     error  // why; of several the last
	Count   int    // how many, for a refusal
}
