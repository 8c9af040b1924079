package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// shaper keeps the classes of traffic. Each of the two interfaces has, once a rate
// matters, one tree: what leaves wgo0 is what devices send, what leaves wgd0 is what
// they receive.
//
//	1:   htb
//	1:1    the node's line
//	1:2      small packets of everybody, first
//	1:n      a session's, while it is open; all share what is left in equal turns
//
// A class is made with its session: thousands of classes that nobody uses would cost
// every later one more.
type shaper struct {
	nl     *netlink.Handle
	up     netlink.Link // what devices send leaves here
	down   netlink.Link
	uplink uint64 // bit/s; 0: no limit
	on     bool
	rooted map[int]bool // interfaces that have the root of a tree, by index
	plain  bool         // the kernel has no fq_codel
	taken  map[uint16]bool
	next   uint16
	have   map[uint16]limits
}

// limits are a session's, bit/s; 0: none.
type limits struct{ up, down uint64 }

const (
	classRoot  = 1
	classFirst = 2
	classLeast = 0x10   // the first of sessions
	classMost  = 0xfffe // the last

	unlimited = 100_000_000_000 // bit/s: more than any line
	turn      = 1514            // bytes that a session sends before the next does
	// The packets of one session that wait: at the least rate that makes sense, two
	// seconds of them.
	leafPackets = 256

	// How long packets of one flow may wait before some are dropped, in microseconds:
	// longer than the usual 5 ms, which is less than one packet takes at the share of a
	// session on a busy line. Who sends little waits for nobody's bulk all the same.
	leafTarget   = 50_000
	leafInterval = 300_000
)

func handle(class uint16) uint32 { return netlink.MakeHandle(1, class) }

func newShaper(l *links, uplink int64) *shaper {
	return &shaper{
		nl: l.nl, up: l.operators, down: l.devices, uplink: uint64(uplink), rooted: make(map[int]bool),
		taken: make(map[uint16]bool), next: classLeast, have: make(map[uint16]limits),
	}
}

// wanted reports whether a session needs a class.
func (s *shaper) wanted(v *reach.Session) bool { return s.uplink > 0 || v.Up > 0 || v.Down > 0 }

// learn takes over the classes that a former process left, which sessions have them
// is for the caller to say. That process may have been killed while it made the trees,
// and have known of another line, so all but what is in use is made again.
func (s *shaper) learn(classes map[netip.Addr]uint16) error {
	for _, link := range []netlink.Link{s.up, s.down} {
		list, err := s.nl.QdiscList(link)
		if err != nil {
			return fmt.Errorf("kernel: traffic classes: %w", err)
		}
		for _, q := range list {
			if q.Type() == "htb" && q.Attrs().Handle == netlink.MakeHandle(1, 0) {
				s.rooted[link.Attrs().Index] = true
			}
		}
	}
	for _, class := range classes {
		s.taken[class] = true
	}
	if len(s.rooted) == 0 {
		return nil
	}
	return s.start()
}

// start makes the trees.
func (s *shaper) start() error {
	if s.on {
		return nil
	}
	for _, link := range []netlink.Link{s.up, s.down} {
		if err := s.tree(link); err != nil {
			return err
		}
	}
	s.on = true
	return nil
}

// tree makes one, or what of it is not there.
func (s *shaper) tree(link netlink.Link) error {
	index, line := link.Attrs().Index, s.line()
	if !s.rooted[index] {
		if err := s.root(link); err != nil {
			return err
		}
		s.rooted[index] = true
	}
	if err := s.class(index, classRoot, 0, line, line, 0); err != nil {
		return err
	}
	if err := s.class(index, classFirst, classRoot, line/10, line, 0); err != nil {
		return err
	}
	return s.leaf(index, classFirst, 1024, 1000)
}

func (s *shaper) root(link netlink.Link) error {
	q := netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT})
	direct := uint32(1000) // for what has no class
	q.DirectQlen = &direct
	if err := s.nl.QdiscReplace(q); err != nil {
		return fmt.Errorf("kernel: htb on %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// line is the rate of the node's line.
func (s *shaper) line() uint64 {
	if s.uplink == 0 {
		return unlimited
	}
	return s.uplink
}

// set gives a session a class with its limits: the one that it has, or, for 0, a new
// one.
func (s *shaper) set(class uint16, want limits) (uint16, error) {
	if err := s.start(); err != nil {
		return 0, err
	}
	fresh := class == 0
	if fresh {
		var err error
		if class, err = s.take(); err != nil {
			return 0, err
		}
	}
	if have, ok := s.have[class]; ok && have == want {
		return class, nil
	}
	for _, side := range []struct {
		link netlink.Link
		rate uint64
	}{{s.up, want.up}, {s.down, want.down}} {
		ceil := s.line()
		if side.rate > 0 {
			ceil = min(ceil, side.rate)
		}
		index := side.link.Attrs().Index
		if err := s.class(index, class, classRoot, s.floor(ceil), ceil, 1); err != nil {
			s.end(class)
			return 0, err
		}
		if _, ok := s.have[class]; ok {
			continue
		}
		if err := s.leaf(index, class, 16, leafPackets); err != nil {
			s.end(class)
			return 0, err
		}
	}
	s.have[class] = want
	return class, nil
}

// floor is the rate that a class has by itself: so little that all of them together
// are less than the line. What a session gets beyond it is its turn.
func (s *shaper) floor(ceil uint64) uint64 { return min(ceil, max(s.line()/classMost, 8000)) }

// take finds a class that nobody has.
func (s *shaper) take() (uint16, error) {
	for range classMost - classLeast + 1 {
		class := s.next
		if s.next++; s.next > classMost {
			s.next = classLeast
		}
		if !s.taken[class] {
			s.taken[class] = true
			return class, nil
		}
	}
	return 0, errors.New("kernel: no class of traffic is left")
}

// end takes a class away.
func (s *shaper) end(class uint16) {
	if class == 0 {
		return
	}
	for _, link := range []netlink.Link{s.up, s.down} {
		_ = s.nl.ClassDel(netlink.NewHtbClass(netlink.ClassAttrs{
			LinkIndex: link.Attrs().Index, Handle: handle(class), Parent: handle(classRoot),
		}, netlink.HtbClassAttrs{Rate: unlimited}))
	}
	delete(s.have, class)
	delete(s.taken, class)
}

// class makes or changes one.
func (s *shaper) class(index int, class, parent uint16, rate, ceil uint64, prio uint32) error {
	c := netlink.NewHtbClass(netlink.ClassAttrs{LinkIndex: index, Handle: handle(class), Parent: handle(parent)}, netlink.HtbClassAttrs{
		Rate: rate, Ceil: ceil, Buffer: burst(rate), Cbuffer: burst(ceil), Quantum: turn, Prio: prio,
	})
	if parent == 0 {
		c.Parent = netlink.MakeHandle(1, 0)
	}
	if err := s.nl.ClassReplace(c); err != nil {
		return fmt.Errorf("kernel: the traffic class 1:%x: %w", class, err)
	}
	return nil
}

// burst is how many bytes may go at once: 2 ms of the rate, and at least a packet.
func burst(rate uint64) uint32 { return uint32(max(1600, min(rate/8/500, 1<<24))) }

// leaf gives a class a queue that keeps delay low: fair between the flows of a
// session, those that send little first.
func (s *shaper) leaf(index int, class uint16, flows, packets uint32) error {
	attrs := netlink.QdiscAttrs{LinkIndex: index, Parent: handle(class), Handle: netlink.MakeHandle(class, 0)}
	if !s.plain {
		q := netlink.NewFqCodel(attrs)
		q.Flows, q.Limit, q.Quantum, q.ECN = flows, packets, turn, 0
		q.Target, q.Interval = leafTarget, leafInterval
		switch err := s.nl.QdiscAdd(q); {
		case err == nil, errors.Is(err, unix.EEXIST): // of a former process, with packets in it
			return nil
		case !errors.Is(err, unix.ENOENT):
			return fmt.Errorf("kernel: the queue of 1:%x: %w", class, err)
		}
		s.plain = true
	}
	// Without fq_codel the class keeps the queue that it was made with, of as many
	// packets as its interface says.
	return nil
}
