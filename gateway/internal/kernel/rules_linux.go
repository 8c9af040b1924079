package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/packet"
)

// ruling is what the rules are written for.
type ruling struct {
	devices, operators uint32 // indexes of the interfaces
	proof              netip.Addr
	mtu                int
	shaped             bool // there are classes of traffic
}

// The names of the chains. Hooked ones see every packet of the host, and let go what
// is not on an interface of ours after one look or two.
const (
	chainArrive       = "arrive"        // hooked: what comes from the tunnels
	chainFromDevice   = "from_device"   // decides
	chainFromOperator = "from_operator" // decides
	chainGuard        = "guard"         // hooked: nothing else may enter the tunnels
	chainSpeak        = "speak"         // hooked: the host itself answers echoes only
	chainUp           = "up"            // which class of traffic, from devices
	chainDown         = "down"          // and to them
)

// program writes all rules anew, in one transaction: no packet meets half of them.
func (f *firewall) program(r ruling) error {
	accept := nftables.ChainPolicyAccept
	// Before the reassembly of fragments, which a connection tracker of the host's may
	// have asked for.
	early, usual := nftables.ChainPriority(-450), nftables.ChainPriority(0)
	chains := map[string]*nftables.Chain{}
	for _, c := range []*nftables.Chain{
		{Name: chainFromDevice},
		{Name: chainFromOperator},
		{Name: chainUp},
		{Name: chainDown},
		{Name: chainArrive, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting, Priority: &early, Policy: &accept},
		{Name: chainGuard, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: &usual, Policy: &accept},
		{Name: chainSpeak, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: &usual, Policy: &accept},
	} {
		c.Table = f.table
		chains[c.Name] = f.nft.AddChain(c)
		f.nft.FlushChain(c)
	}
	w := &writer{f: f, chains: chains}
	w.decide(chainFromDevice, r, direction{set: f.sets.fromDevice, port: 0, echo: packet.EchoReply, unproved: true})
	w.decide(chainFromOperator, r, direction{set: f.sets.toDevice, port: 2, echo: packet.EchoRequest, opens: true})
	w.add(chainArrive, "", iif(expr.CmpOpEq, r.devices), jump(chainFromDevice))
	w.add(chainArrive, "", iif(expr.CmpOpEq, r.operators), jump(chainFromOperator))
	w.guard(r)
	w.queue(r)
	if w.err != nil {
		return w.err
	}
	if err := f.nft.Flush(); err != nil {
		return fmt.Errorf("kernel: the rules of %s: %w", f.table.Name, err)
	}
	return nil
}

// writer adds rules to a batch.
type writer struct {
	f      *firewall
	chains map[string]*nftables.Chain
	err    error
}

// exprs is a part of a rule.
type exprs []expr.Any

// add adds a rule. why, unless empty, is what it counts.
func (w *writer) add(chain, why string, parts ...exprs) {
	r := &nftables.Rule{Table: w.f.table, Chain: w.chains[chain]}
	for _, p := range parts {
		r.Exprs = append(r.Exprs, p...)
	}
	if why != "" {
		r.UserData = userdata.AppendString(nil, userdata.TypeComment, why)
	}
	w.f.nft.AddRule(r)
}

// drop adds a rule that drops and counts for why.
func (w *writer) drop(chain string, why reach.Reason, parts ...exprs) {
	w.add(chain, why.String(), append(parts, exprs{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}})...)
}

// accept adds a rule that lets pass and counts.
func (w *writer) accept(chain string, why reach.Reason, parts ...exprs) {
	w.add(chain, why.String(), append(parts, exprs{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept}})...)
}

// direction is what differs between the two chains that decide.
type direction struct {
	set      *nftables.Set
	port     uint32 // where the device's port stands in the payload's header
	echo     byte   // which of the echo's two messages passes
	opens    bool   // a bare SYN passes
	unproved bool   // what is heard first of a device matters
}

// decide writes the rules for what comes from one side. It keeps no state: which
// flows are under way is not asked, but a device can open none.
func (w *writer) decide(chain string, r ruling, d direction) {
	const scratch = unix.NFT_REG32_15
	w.carry(chain, r, d)
	w.drop(chain, reach.Options, network(0, 1, 1), cmp(expr.CmpOpNeq, 1, 0x45)) // version 4, a header of 20 bytes
	w.drop(chain, reach.Fragment, network(6, 2, 1), mask(1, 0x3f, 0xff), cmp(expr.CmpOpNeq, 1, 0, 0))
	w.drop(chain, reach.Oversized, network(2, 2, 1), cmp(expr.CmpOpGt, 1, byte(r.mtu>>8), byte(r.mtu)))
	w.drop(chain, reach.HopLimit, network(8, 1, 1), cmp(expr.CmpOpLte, 1, 1))
	w.drop(chain, reach.UnknownSource, network(12, 4, 1), lookup(w.f.sets.alive, 1, true))
	if d.unproved {
		w.add(chain, "", network(12, 4, 1), lookup(w.f.sets.unproved, 1, false))
	}
	// The last bytes of each header are loaded so that a packet cut short fails here.
	w.add(chain, "", proto(packet.TCP), transport(13, 1, 1), mask(1, packet.SYN), cmp(expr.CmpOpNeq, 1, 0), clamp(r.mtu))
	w.accept(chain, reach.Pass, proto(packet.TCP), transport(12, 2, 1), mask(1, 0xf0, flagMask), w.oneOf(honest(d.opens)), transport(16, 4, scratch), w.way(d, transport(d.port, 2, wayPort)))
	w.accept(chain, reach.Pass, proto(packet.UDP), transport(4, 4, scratch), w.way(d, transport(d.port, 2, wayPort)))
	w.accept(chain, reach.Pass, proto(packet.ICMP), transport(4, 4, scratch), transport(0, 2, 1), cmp(expr.CmpOpEq, 1, d.echo, 0),
		w.way(d, exprs{&expr.Immediate{Register: wayPort, Data: make([]byte, 4)}}))

	proof := r.proof.As4()
	toProof := append(network(16, 4, 1), cmp(expr.CmpOpEq, 1, proof[:]...)...)
	w.accept(chain, reach.Answer, toProof, proto(packet.ICMP), transport(0, 8, unix.NFT_REG_2), cmp(expr.CmpOpEq, unix.NFT_REG_2, packet.EchoRequest, 0))
	w.drop(chain, reach.ProofOnly, toProof)
	w.drop(chain, reach.Malformed, proto(packet.TCP), transport(12, 1, 1), mask(1, 0xf0), cmp(expr.CmpOpLt, 1, 5<<4))
	w.drop(chain, reach.Flags, proto(packet.TCP), transport(12, 2, 1), mask(1, 0xf0, flagMask), w.noneOf(honest(d.opens)))
	w.drop(chain, reach.PortNotGranted)
}

// carry lets pass at one look what nearly all packets are: segments that carry an ACK
// alone, which need no set of flags. It says all that the rules behind it say of them,
// and what it does not match goes on to those, which know why. Of a device that is to
// be heard of something else passed before: it opens no connection.
func (w *writer) carry(chain string, r ruling, d direction) {
	w.accept(chain, reach.Pass,
		// No kernel lets a header through that is shorter than 20 bytes or of another version.
		network(0, 4, 1), mask(1, 0xff, 0, 0xff, 0xff), cmp(expr.CmpOpLte, 1, 0x45, 0, byte(r.mtu>>8), byte(r.mtu)),
		network(6, 2, 1), mask(1, 0x3f, 0xff), cmp(expr.CmpOpEq, 1, 0, 0),
		network(8, 1, 1), cmp(expr.CmpOpGt, 1, 1),
		network(9, 1, wayProto), cmp(expr.CmpOpEq, wayProto, packet.TCP),
		transport(12, 2, 1), mask(1, 0xf0, flagMask), cmp(expr.CmpOpGte, 1, 5<<4, packet.ACK), mask(1, 0, 0xff), cmp(expr.CmpOpEq, 1, 0, packet.ACK),
		transport(16, 4, 1),
		network(12, 4, waySource), lookup(w.f.sets.alive, waySource, false),
		network(16, 4, wayDestination), transport(d.port, 2, wayPort), lookup(d.set, waySource, false))
}

// Where a way stands, to be looked up.
const (
	waySource      = unix.NFT_REG32_00
	wayDestination = unix.NFT_REG32_01
	wayProto       = unix.NFT_REG32_02
	wayPort        = unix.NFT_REG32_03
)

// way matches what goes a way that is open; port loads its port.
func (w *writer) way(d direction, port exprs) exprs {
	return sequence(network(12, 4, waySource), network(16, 4, wayDestination), network(9, 1, wayProto), port, lookup(d.set, waySource, false))
}

// flagMask is which flags of TCP decide whether a segment is honest.
const flagMask = packet.FIN | packet.SYN | packet.RST | packet.ACK

// honest are the lengths of TCP's header, in its first four bits, with the flags of
// segments that open, carry, end or reset.
func honest(opens bool) (list [][]byte) {
	flags := []byte{packet.ACK, packet.FIN | packet.ACK, packet.SYN | packet.ACK, packet.RST, packet.RST | packet.ACK}
	if opens {
		flags = append(flags, packet.SYN)
	}
	for length := byte(5); length <= 15; length++ {
		for _, f := range flags {
			list = append(list, []byte{length << 4, f})
		}
	}
	return list
}

// oneOf matches when the two bytes in register 1 are one of list, noneOf when they
// are not.
func (w *writer) oneOf(list [][]byte) exprs  { return lookup(w.anonymous(list), 1, false) }
func (w *writer) noneOf(list [][]byte) exprs { return lookup(w.anonymous(list), 1, true) }

func (w *writer) anonymous(list [][]byte) *nftables.Set {
	set := &nftables.Set{Table: w.f.table, Anonymous: true, Constant: true, KeyType: nftables.TypeInetService}
	var elems []nftables.SetElement
	for _, b := range list {
		elems = append(elems, nftables.SetElement{Key: b})
	}
	if err := w.f.nft.AddSet(set, elems); err != nil && w.err == nil {
		w.err = fmt.Errorf("kernel: a set of flags: %w", err)
	}
	return set
}

// guard keeps everything out of the tunnels that did not come by the other one.
func (w *writer) guard(r ruling) {
	w.add(chainGuard, "", oif(expr.CmpOpEq, r.operators), iif(expr.CmpOpEq, r.devices), next(chainUp))
	w.add(chainGuard, "", oif(expr.CmpOpEq, r.devices), iif(expr.CmpOpEq, r.operators), next(chainDown))
	for _, index := range []uint32{r.devices, r.operators} {
		w.drop(chainGuard, reach.Isolated, iif(expr.CmpOpEq, index))
		w.drop(chainGuard, reach.Isolated, oif(expr.CmpOpEq, index))
	}
	for index, talk := range map[uint32]*nftables.Set{r.devices: w.f.sets.talkDown, r.operators: w.f.sets.talkUp} {
		answer := sequence(oif(expr.CmpOpEq, index), proto(packet.ICMP), transport(0, 2, 1), cmp(expr.CmpOpEq, 1, packet.EchoReply, 0))
		if r.shaped {
			// Without a class they would go before all that has one, and beyond the line's rate.
			w.classify(chainSpeak, answer, 16, talk)
		}
		w.accept(chainSpeak, reach.Answer, answer)
		w.drop(chainSpeak, reach.ProofOnly, oif(expr.CmpOpEq, index))
	}
}

// Small packets, up to so many a second of each device and direction, go first: keys,
// pointers and acknowledgements. Beyond that they queue with the rest of the session,
// so that nobody gets more of the line by sending small ones.
const (
	smallBytes = 256
	smallRate  = 100 // a second
	smallBurst = 100
)

// queue writes which class of traffic a packet goes to.
func (w *writer) queue(r ruling) {
	if !r.shaped {
		return
	}
	for _, side := range []struct {
		chain  string
		device uint32 // where the device's address stands
		talk   *nftables.Set
	}{{chainUp, 12, w.f.sets.talkUp}, {chainDown, 16, w.f.sets.talkDown}} {
		w.classify(side.chain, nil, side.device, side.talk)
	}
}

// classify gives what match takes the class of the session whose address stands at
// offset, and lets small packets go first, as talk counts them.
func (w *writer) classify(chain string, match exprs, offset uint32, talk *nftables.Set) {
	priority := &expr.Meta{Key: expr.MetaKeyPRIORITY, SourceRegister: true, Register: 1}
	w.add(chain, "", match, network(offset, 4, 1), exprs{
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: w.f.sets.classes.Name}, priority,
	})
	w.add(chain, "", match, network(2, 2, 1), cmp(expr.CmpOpLte, 1, smallBytes>>8, smallBytes&0xff), network(offset, 4, 1), exprs{
		&expr.Dynset{
			SrcRegKey: 1, SetName: talk.Name, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: time.Minute,
			Exprs: []expr.Any{&expr.Limit{Type: expr.LimitTypePkts, Rate: smallRate, Unit: expr.LimitTimeSecond, Burst: smallBurst}},
		},
		&expr.Immediate{Register: 1, Data: binary.NativeEndian.AppendUint32(nil, handle(classFirst))}, priority,
	})
}

// clamp lowers the segment size that a SYN announces to what the tunnels carry.
func clamp(mtu int) exprs {
	return exprs{
		&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, uint16(mtu-packet.IPv4Header-packet.TCPHeader))},
		&expr.Exthdr{SourceRegister: 1, Type: 2, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt},
	}
}

func network(offset, size, register uint32) exprs {
	return exprs{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}}
}

func transport(offset, size, register uint32) exprs {
	return exprs{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: size}}
}

func cmp(op expr.CmpOp, register uint32, data ...byte) exprs {
	return exprs{&expr.Cmp{Op: op, Register: register, Data: data}}
}

func mask(register uint32, bits ...byte) exprs {
	return exprs{&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: uint32(len(bits)), Mask: bits, Xor: make([]byte, len(bits))}}
}

func proto(number byte) exprs { return append(network(9, 1, 1), cmp(expr.CmpOpEq, 1, number)...) }

func lookup(s *nftables.Set, register uint32, not bool) exprs {
	return exprs{&expr.Lookup{SourceRegister: register, SetName: s.Name, SetID: s.ID, Invert: not}}
}

func iif(op expr.CmpOp, index uint32) exprs { return link(expr.MetaKeyIIF, op, index) }
func oif(op expr.CmpOp, index uint32) exprs { return link(expr.MetaKeyOIF, op, index) }

func link(key expr.MetaKey, op expr.CmpOp, index uint32) exprs {
	return exprs{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: binaryutil.NativeEndian.PutUint32(index)}}
}

func jump(chain string) exprs { return exprs{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}} }
func next(chain string) exprs { return exprs{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}} }

func sequence(parts ...exprs) (all exprs) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
