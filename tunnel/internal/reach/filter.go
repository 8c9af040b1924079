package reach

import (
	"bytes"
	"net/netip"
	"sync"
	"time"

	"github.com/boothwire/boothwire/internal/packet"
)

// A Verdict is what becomes of a packet.
type Verdict uint8

const (
	Drop    Verdict = iota // neither granted nor a reply
	Pass                   // on to the other side
	Answer                 // an echo request to be answered here
	Proved                 // an answer to an echo of the tunnel's own
	Renewal                // for Renewals
)

// TokenSize is the size of an Echo's token, in bytes.
const TokenSize = 8

// An Echo tells the tunnel's own echoes from those of a host's ping.
type Echo struct {
	ID    uint16
	Token [TokenSize]byte // the first bytes behind the ICMP header
}

// A Proof is one answered echo of the tunnel's own.
type Proof struct {
	From netip.Addr
	Seq  uint16
	Size int           // bytes of the whole packet
	At   time.Duration // as the packet's now
}

// Stats are counts since the filter was made, and the times, as the now of In
// and Out, of the newest packets; zero times mean never.
type Stats struct {
	Rx, Tx                uint64        // bytes that passed, in and out
	DroppedIn, DroppedOut uint64        // packets
	Answered              uint64        // echo requests answered here
	Flows                 int           // remembered
	LastIn                time.Duration // any packet from WireGuard
	LastOut               time.Duration // any that passed outwards
	LastUse               time.Duration // of a peer's connection, either way; no echoes
}

// A Filter judges packets by Rules. Its methods are safe for concurrent use.
// Times are monotonic, from a start that the caller chooses, and above zero.
type Filter struct {
	mu     sync.Mutex
	rules  Rules
	echo   Echo
	flows  flows
	stats  Stats
	proofs chan Proof
	info   packet.Info

	renewals  chan []byte
	allowance allowance
}

// NewFilter makes a filter with the given rules.
func NewFilter(rules Rules, echo Echo) *Filter {
	return &Filter{rules: rules.clone(), echo: echo, proofs: make(chan Proof, 64), renewals: make(chan []byte, renewsKept)}
}

// Proofs delivers the answers to the tunnel's own echoes. What nobody takes is
// dropped once 64 wait.
func (f *Filter) Proofs() <-chan Proof { return f.proofs }

// SetRules replaces the rules. Flows that the new ones would not begin are
// forgotten.
func (f *Filter) SetRules(rules Rules) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = rules.clone()
	f.flows.keep(func(fl *flow) bool {
		remote, own := fl.key.addrs()
		peer := f.rules.peer(remote)
		if peer == nil || !f.rules.own(own) {
			return false
		}
		return f.rules.Outbound || peer.reaches(fl.key.proto, fl.key.ownPort)
	})
}

// Stats returns the counts so far.
func (f *Filter) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stats
	s.Flows = len(f.flows.table)
	return s
}

// In judges a packet from WireGuard.
func (f *Filter) In(b []byte, now time.Duration) Verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.in(b, now)
}

// Out judges a packet to WireGuard.
func (f *Filter) Out(b []byte, now time.Duration) Verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out(b, now)
}

// in wants mu held.
func (f *Filter) in(b []byte, now time.Duration) Verdict {
	f.stats.LastIn = now // WireGuard took it for the far end's: its address is allowed
	v := f.judgeIn(b, now)
	switch v {
	case Drop:
		f.stats.DroppedIn++
	case Pass:
		f.stats.Rx += uint64(len(b))
		f.stats.LastUse = now
	case Answer:
		f.stats.Answered++
	}
	return v
}

func (f *Filter) judgeIn(b []byte, now time.Duration) Verdict {
	p := &f.info
	if !packet.Parse(b, p) || p.Fragment || !f.rules.own(p.Dst) {
		return Drop
	}
	peer := f.rules.peer(p.Src) != nil
	switch {
	case p.IsEchoRequest():
		if peer || f.rules.proof(p.Src) {
			return Answer
		}
		return Drop
	case p.IsEchoReply():
		if f.rules.proof(p.Src) && f.prove(b, p, now) {
			return Proved
		}
	case p.Proto != packet.TCP && p.Proto != packet.UDP:
		return Drop
	}
	switch {
	case !peer:
		return Drop
	case f.isRenew(p):
		return f.renew(b, p, now)
	}
	return f.judgeFlow(p, true, now)
}

// prove reports whether p answers an echo of the tunnel's own, and tells so.
func (f *Filter) prove(b []byte, p *packet.Info, now time.Duration) bool {
	if p.ID != f.echo.ID || !bytes.HasPrefix(packet.EchoData(b, p), f.echo.Token[:]) {
		return false
	}
	select {
	case f.proofs <- Proof{From: p.Src, Seq: p.Seq, Size: p.TotalLen, At: now}:
	default:
	}
	return true
}

// out wants mu held.
func (f *Filter) out(b []byte, now time.Duration) Verdict {
	v := f.judgeOut(b, now)
	if v == Pass {
		f.stats.Tx += uint64(len(b))
		f.stats.LastOut = now
		f.stats.LastUse = now
	} else {
		f.stats.DroppedOut++
	}
	return v
}

func (f *Filter) judgeOut(b []byte, now time.Duration) Verdict {
	p := &f.info
	if !packet.Parse(b, p) || p.Fragment || !f.rules.own(p.Src) || f.rules.peer(p.Dst) == nil {
		return Drop
	}
	if p.Proto != packet.TCP && p.Proto != packet.UDP && !p.IsEchoRequest() {
		return Drop
	}
	return f.judgeFlow(p, false, now)
}

// judgeFlow lets a packet pass that its sender may begin a flow with, or that
// belongs to one which the other side began.
func (f *Filter) judgeFlow(p *packet.Info, in bool, now time.Duration) Verdict {
	k := keyOf(p, in)
	begins := f.rules.begins(p, in)
	opens := p.Proto == packet.TCP && p.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN
	if opens && !begins {
		return Drop // a reply never opens a connection
	}
	fl := f.flows.find(&k, now)
	if fl == nil {
		if !begins {
			return Drop
		}
		if fl = f.flows.add(&k, now); fl == nil {
			return Drop
		}
	} else if opens {
		fl.state = 0
	}
	fl.last = now
	if !begins {
		fl.state |= answered
	}
	if p.Proto == packet.TCP {
		fl.state |= closing(p.TCPFlags, in)
	}
	return Pass
}

func closing(flags uint8, in bool) state {
	var s state
	if flags&packet.RST != 0 {
		s |= reset
	}
	if flags&packet.FIN != 0 {
		if in {
			s |= finIn
		} else {
			s |= finOut
		}
	}
	return s
}
