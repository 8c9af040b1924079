package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// way is one thing that an operator may do: speak to a port of a device. Port is 0
// for echoes.
type way struct {
	operator, device netip.Addr
	proto            uint8
	port             uint16
}

// tuple is a way as a set holds it: two addresses, the protocol and the port, each
// in a word of its own.
type tuple [16]byte

// out is the key of a packet of the operator's, back of one of the device's: both as
// the addresses stand in a header, so that one load takes the two.
func (w way) out() tuple  { return join(w.operator, w.device, w.proto, w.port) }
func (w way) back() tuple { return join(w.device, w.operator, w.proto, w.port) }

func join(src, dst netip.Addr, proto uint8, port uint16) (t tuple) {
	s, d := src.As4(), dst.As4()
	copy(t[0:], s[:])
	copy(t[4:], d[:])
	t[8] = proto
	binary.BigEndian.PutUint16(t[12:], port)
	return t
}

// wayOf reads the key of an operator's packet.
func wayOf(key []byte) (way, bool) {
	if len(key) != len(tuple{}) {
		return way{}, false
	}
	return way{
		operator: netip.AddrFrom4([4]byte(key[0:])), device: netip.AddrFrom4([4]byte(key[4:])),
		proto: key[8], port: binary.BigEndian.Uint16(key[12:]),
	}, true
}

// sets are those of the table. Whoever changes what they hold changes the table's
// version too, so that a plane does not take over what it cannot read.
type sets struct {
	alive      *nftables.Set // addresses of all members, each until its session's end
	unproved   *nftables.Set // devices of which nothing was heard yet, with how much was
	toDevice   *nftables.Set // ways, as packets of operators; with bytes
	fromDevice *nftables.Set // ways, as packets of devices; with bytes
	classes    *nftables.Set // members: their session's class of traffic
	talkUp     *nftables.Set // devices whose small packets went first lately, and their operators'
	talkDown   *nftables.Set
}

// version of what stands in the table, in the name of a chain that does nothing.
const version = "boothwire_1"

// firewall writes the nftables table and is the only one who does.
type firewall struct {
	nft   *nftables.Conn
	table *nftables.Table
	sets  sets
	old   bool // the table was there

	began    time.Time
	gathered int // elements in the batch
	failed   error

	// What the sets hold.
	ways     map[way]bool
	alive    map[netip.Addr]lease
	unproved map[netip.Addr]bool
	classes  map[netip.Addr]uint16
}

// lease is for how long an address may speak.
type lease struct {
	until time.Time     // by the clock of grants
	ends  time.Duration // by the kernel's, which nobody sets, since the firewall was opened
}

// openFirewall finds the table or makes it, with the sets and without rules.
func openFirewall(name string) (*firewall, error) {
	nft, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("kernel: nftables: %w", err)
	}
	f := &firewall{nft: nft, table: &nftables.Table{Name: name, Family: nftables.TableFamilyIPv4}, began: time.Now()}
	f.sets = newSets(f.table)
	if err := f.open(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func newSets(table *nftables.Table) sets {
	way := nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr, nftables.TypeInetProto, nftables.TypeInetService)
	s := sets{
		alive:      &nftables.Set{Name: "alive", KeyType: nftables.TypeIPAddr, HasTimeout: true},
		unproved:   &nftables.Set{Name: "unproved", KeyType: nftables.TypeIPAddr, Counter: true},
		toDevice:   &nftables.Set{Name: "to_device", KeyType: way, Concatenation: true, Counter: true},
		fromDevice: &nftables.Set{Name: "from_device", KeyType: way, Concatenation: true, Counter: true},
		classes:    &nftables.Set{Name: "classes", KeyType: nftables.TypeIPAddr, IsMap: true, DataType: nftables.TypeClassID},
		talkUp:     &nftables.Set{Name: "talk_up", KeyType: nftables.TypeIPAddr, Dynamic: true, HasTimeout: true, Timeout: time.Minute, Size: 65535},
		talkDown:   &nftables.Set{Name: "talk_down", KeyType: nftables.TypeIPAddr, Dynamic: true, HasTimeout: true, Timeout: time.Minute, Size: 65535},
	}
	for _, one := range s.all() {
		one.Table = table
	}
	return s
}

func (f *firewall) open() error {
	known, err := f.known()
	if err != nil {
		return err
	}
	f.forget()
	if f.old = known; !known {
		err = f.make()
	}
	if err == nil {
		err = f.flush()
	}
	return err
}

// forget is the memory of an empty table.
func (f *firewall) forget() {
	f.ways, f.alive = make(map[way]bool), make(map[netip.Addr]lease)
	f.unproved, f.classes = make(map[netip.Addr]bool), make(map[netip.Addr]uint16)
}

// make adds to the batch the table and its sets, empty.
func (f *firewall) make() error {
	f.nft.AddTable(f.table) // so that the next line finds one
	f.nft.DelTable(f.table)
	f.nft.AddTable(f.table)
	f.nft.AddChain(&nftables.Chain{Name: version, Table: f.table})
	for _, s := range f.sets.all() {
		if err := f.nft.AddSet(s, nil); err != nil {
			return fmt.Errorf("kernel: the set %s: %w", s.Name, err)
		}
	}
	return nil
}

func (s *sets) all() []*nftables.Set {
	return []*nftables.Set{s.alive, s.unproved, s.toDevice, s.fromDevice, s.classes, s.talkUp, s.talkDown}
}

// known reports whether a table of this version is there.
func (f *firewall) known() (bool, error) {
	list, err := f.nft.ListChainsOfTableFamily(f.table.Family)
	if err != nil {
		return false, fmt.Errorf("kernel: nftables: %w", err)
	}
	return slices.ContainsFunc(list, func(c *nftables.Chain) bool { return c.Table.Name == f.table.Name && c.Name == version }), nil
}

// learn reads what a former process left in the sets.
func (f *firewall) learn(now time.Time) error {
	if !f.old {
		return nil
	}
	for set, take := range map[*nftables.Set]func(e nftables.SetElement, a netip.Addr){
		f.sets.alive:    func(e nftables.SetElement, a netip.Addr) { f.alive[a] = f.lease(now.Add(e.Expires), now) },
		f.sets.unproved: func(_ nftables.SetElement, a netip.Addr) { f.unproved[a] = true },
		f.sets.classes: func(e nftables.SetElement, a netip.Addr) {
			if len(e.Val) == 4 {
				f.classes[a] = uint16(binary.NativeEndian.Uint32(e.Val))
			}
		},
		f.sets.toDevice: func(e nftables.SetElement, _ netip.Addr) {
			if w, ok := wayOf(e.Key); ok {
				f.ways[w] = true
			}
		},
	} {
		list, err := f.nft.GetSetElements(set)
		if err != nil {
			return fmt.Errorf("kernel: the set %s: %w", set.Name, err)
		}
		for _, e := range list {
			if a, ok := netip.AddrFromSlice(e.Key[:min(4, len(e.Key))]); ok {
				take(e, a)
			}
		}
	}
	return nil
}

// delta is one change of the sets; the kernel makes it whole or not at all, unless
// it is one of thousands of elements.
type delta struct {
	opened, shut []way
	alive        map[netip.Addr]time.Time // until when; the zero time: no more
	await        []netip.Addr             // devices to hear of
	heard        []netip.Addr             // and to hear of no more
	class        map[netip.Addr]uint16    // 0: none
}

// Bounds of the elements of one message, and of one batch of them: a batch of
// thousands the kernel may begin again and again, and never end.
const (
	perMessage = 128
	perBatch   = 256
)

// apply makes d, and leaves alone what is as it should be.
func (f *firewall) apply(d *delta, now time.Time) error {
	if err := f.lapse(d.alive); err != nil {
		return err
	}
	shut := slices.DeleteFunc(slices.Clone(d.shut), func(w way) bool { return !f.ways[w] })
	opened := slices.DeleteFunc(slices.Clone(d.opened), func(w way) bool { return f.ways[w] })
	f.remove(f.sets.toDevice, elements(shut, way.out))
	f.remove(f.sets.fromDevice, elements(shut, way.back))
	f.add(f.sets.toDevice, elements(opened, way.out))
	f.add(f.sets.fromDevice, elements(opened, way.back))
	f.living(d.alive, now)
	f.remove(f.sets.unproved, addresses(slices.DeleteFunc(slices.Clone(d.heard), func(a netip.Addr) bool { return !f.unproved[a] })))
	f.add(f.sets.unproved, addresses(slices.DeleteFunc(slices.Clone(d.await), func(a netip.Addr) bool { return f.unproved[a] })))
	for a, class := range d.class {
		if was, ok := f.classes[a]; ok && was != class {
			f.remove(f.sets.classes, addresses([]netip.Addr{a}))
		}
		if class != 0 && f.classes[a] != class {
			f.add(f.sets.classes, []nftables.SetElement{{Key: a.AsSlice(), Val: binary.NativeEndian.AppendUint32(nil, handle(class))}})
		}
	}
	if err := f.flush(); err != nil {
		return err
	}
	f.note(d, shut, opened, now)
	return nil
}

// flush sends what was gathered.
func (f *firewall) flush() error {
	err := errors.Join(f.failed, f.nft.Flush())
	f.failed, f.gathered = nil, 0
	if err != nil {
		return fmt.Errorf("kernel: the nftables table %s: %w", f.table.Name, err)
	}
	return nil
}

// lease is one that lasts until a time by the clock of grants; now has both clocks'.
func (f *firewall) lease(until, now time.Time) lease {
	return lease{until: until, ends: now.Sub(f.began) + until.Sub(now)}
}

// lapseSoon is more than a batch takes from its beginning until the kernel has it.
const lapseSoon = 5 * time.Second

// lapse takes out of alive, of those that change, whom the kernel took out itself or is
// about to: they would fail the batch that takes them out. It comes before the batch is
// begun, so that nothing is left in it when it fails.
func (f *firewall) lapse(alive map[netip.Addr]time.Time) error {
	for a, until := range alive {
		was, ok := f.alive[a]
		if !ok || was.until.Equal(until) || was.ends-time.Since(f.began) > lapseSoon {
			continue
		}
		if err := f.perhaps([]nftables.SetElement{{Key: a.AsSlice()}}); err != nil {
			return err
		}
		delete(f.alive, a)
	}
	return nil
}

// living adds to the batch who may speak for how long. An element's time cannot be
// changed, so it is replaced.
func (f *firewall) living(alive map[netip.Addr]time.Time, now time.Time) {
	for a, until := range alive {
		was, ok := f.alive[a]
		if ok && was.until.Equal(until) {
			continue
		}
		key := []nftables.SetElement{{Key: a.AsSlice()}}
		if ok {
			f.remove(f.sets.alive, key)
		}
		if left := until.Sub(now).Milliseconds(); !until.IsZero() && left > 0 {
			key[0].Timeout = time.Duration(left) * time.Millisecond
			f.add(f.sets.alive, key)
		}
	}
}

// perhaps takes an element out of alive that may be gone, in a batch of its own.
func (f *firewall) perhaps(key []nftables.SetElement) error {
	other, err := nftables.New()
	if err != nil {
		return fmt.Errorf("kernel: nftables: %w", err)
	}
	if err := other.SetDeleteElements(f.sets.alive, key); err != nil {
		return fmt.Errorf("kernel: nftables: %w", err)
	}
	if err := other.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("kernel: the set alive: %w", err)
	}
	return nil
}

func (f *firewall) note(d *delta, shut, opened []way, now time.Time) {
	for _, w := range shut {
		delete(f.ways, w)
	}
	for _, w := range opened {
		f.ways[w] = true
	}
	for a, until := range d.alive {
		if f.alive[a].until.Equal(until) {
			continue // the kernel's time goes on
		}
		if delete(f.alive, a); !until.IsZero() {
			f.alive[a] = f.lease(until, now)
		}
	}
	for _, a := range d.heard {
		delete(f.unproved, a)
	}
	for _, a := range d.await {
		f.unproved[a] = true
	}
	for a, class := range d.class {
		if delete(f.classes, a); class != 0 {
			f.classes[a] = class
		}
	}
}

func (f *firewall) add(s *nftables.Set, list []nftables.SetElement) {
	f.gather(list, func(part []nftables.SetElement) error { return f.nft.SetAddElements(s, part) })
}

func (f *firewall) remove(s *nftables.Set, list []nftables.SetElement) {
	f.gather(list, func(part []nftables.SetElement) error { return f.nft.SetDeleteElements(s, part) })
}

// gather adds elements to the batch, and sends it when it holds as much as a socket
// takes at once.
func (f *firewall) gather(list []nftables.SetElement, put func([]nftables.SetElement) error) {
	for part := range slices.Chunk(list, perMessage) {
		err := put(part)
		if f.gathered += len(part); f.gathered >= perBatch {
			f.gathered = 0
			err = errors.Join(err, f.nft.Flush())
		}
		f.failed = errors.Join(f.failed, err)
	}
}

func elements(list []way, key func(way) tuple) []nftables.SetElement {
	out := make([]nftables.SetElement, len(list))
	for i, w := range list {
		k := key(w)
		out[i].Key = k[:]
	}
	return out
}

func addresses(list []netip.Addr) []nftables.SetElement {
	out := make([]nftables.SetElement, len(list))
	for i, a := range list {
		out[i].Key = a.AsSlice()
	}
	return out
}

// drop takes the table away.
func (f *firewall) drop() error {
	f.nft.DelTable(f.table)
	if err := f.nft.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("kernel: the nftables table %s: %w", f.table.Name, err)
	}
	return nil
}

func (f *firewall) close() { _ = f.nft.CloseLasting() }
