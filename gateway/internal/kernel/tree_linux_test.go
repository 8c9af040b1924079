package kernel

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/boothwire/boothwire/internal/kernelvm"
	"github.com/boothwire/boothwire/internal/netlab"
)

// A process that was killed while it made the trees of classes, or that knew of another
// line, leaves nothing that the next one cannot mend.
func TestTreeOfKilled(t *testing.T) {
	if kernelvm.Inside() {
		t.Skip("runs outside of the guest")
	}
	const line, former = 40_000_000, 10_000_000
	for name, leave := range map[string]func(s *shaper) error{
		"nothing": func(*shaper) error { return nil },
		"one tree": func(s *shaper) error {
			s.down = s.up
			return s.tree(s.up)
		},
		"one tree without classes": func(s *shaper) error { return s.root(s.up) },
		"both, of another line": func(s *shaper) error {
			s.uplink = former
			return s.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			lab := netlab.New(t)
			node, devices, operators := lab.Host("node"), lab.Host("devices"), lab.Host("operators")
			down, up := lab.Link(node, "192.0.2.1/24", devices, "192.0.2.2/24"), lab.Link(node, "198.51.100.1/24", operators, "198.51.100.2/24")
			if err := node.Do(func() error {
				nl, err := netlink.NewHandle()
				if err != nil {
					return err
				}
				defer nl.Close()
				l := &links{nl: nl}
				if l.devices, err = nl.LinkByName(down.A.Name); err != nil {
					return err
				}
				if l.operators, err = nl.LinkByName(up.A.Name); err != nil {
					return err
				}
				if err := leave(newShaper(l, line)); err != nil {
					return err
				}
				s := newShaper(l, line)
				if err := s.learn(map[netip.Addr]uint16{}); err != nil {
					return err
				}
				class, err := s.set(0, limits{up: 1_000_000, down: 2_000_000})
				if err != nil {
					return err
				}
				for _, side := range []struct {
					link netlink.Link
					ceil int64
				}{{s.up, 1_000_000}, {s.down, 2_000_000}} {
					list, err := nl.ClassList(side.link, netlink.HANDLE_NONE)
					if err != nil {
						return err
					}
					ceils := make(map[uint16]int64)
					for _, c := range list {
						_, minor := netlink.MajorMinor(c.Attrs().Handle)
						ceils[minor] = int64(c.(*netlink.HtbClass).Ceil) * 8
					}
					if ceils[class] != side.ceil || ceils[classRoot] != line || ceils[classFirst] != line {
						t.Errorf("%s: ceilings %v", side.link.Attrs().Name, ceils)
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}
