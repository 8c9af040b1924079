package kernel

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/internal/packet"
)

// envForward makes this process one of those of BenchmarkForward: "node IN OUT" or
// "sender".
const envForward = "BOOTHWIRE_KERNEL_FORWARD"

const (
	forwardSessions = 10_000 // in the table
	forwardOpen     = 100    // of them with a class, which all the packets belong to
	forwardRounds   = 15
	forwardWindow   = 700 * time.Millisecond
	forwardPacket   = 100 // bytes
)

// BenchmarkForward measures what the rules, and the rules with a class of traffic
// for every session, leave of the packets that a kernel forwards: the same three
// namespaces, the same packets, in turns. There is no WireGuard in it, whose ciphers
// would be most of what is measured.
func BenchmarkForward(b *testing.B) {
	switch args := strings.Fields(os.Getenv(envForward)); {
	case len(args) == 3:
		if err := forwardNode(args[1], args[2]); err != nil {
			b.Fatal(err)
		}
		return
	case len(args) == 1:
		if err := forwardSender(); err != nil {
			b.Fatal(err)
		}
		return
	}
	for range b.N {
		forward(b)
	}
}

func forward(b *testing.B) {
	lab := netlab.New(b)
	sender, node, sink := lab.Host("operators"), lab.Router("node"), lab.Host("devices")
	in := lab.Link(sender, "192.0.2.1/24", node, "192.0.2.2/24")
	out := lab.Link(node, "198.51.100.1/24", sink, "198.51.100.2/24")
	sender.Route("default", in.B.Addr)
	node.Route("10.166.0.0/17", out.B.Addr)
	node.Route("10.166.192.0/18", in.A.Addr)
	process := func(h *netlab.Host, role string) (say func(string) string) {
		cmd := h.Command(b.Context(), os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkForward$", "-test.benchtime=1x")
		cmd.Env = append(os.Environ(), envForward+"="+role)
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			stdin.Close()
			cmd.Wait()
		})
		lines := bufio.NewScanner(stdout)
		return func(word string) string {
			fmt.Fprintln(stdin, word)
			for lines.Scan() {
				if answer, ok := strings.CutPrefix(lines.Text(), "@@"); ok {
					return answer
				}
				b.Log(role, lines.Text())
			}
			b.Fatalf("%s: no answer to %s", role, word)
			return ""
		}
	}
	tell := process(node, "node "+out.A.Name+" "+in.B.Name)
	send := process(sender, "sender")
	states := []string{"plain", "rules", "shaped"}
	rates := make(map[string][]float64)
	for round := range forwardRounds {
		now := make(map[string]float64)
		for i := range states {
			state := states[(i+round)%len(states)]
			tell(state)
			send("go") // warms the caches
			before := arrived(b, sink, out.B.Name)
			took, err := time.ParseDuration(send("go"))
			if err != nil {
				b.Fatal(err)
			}
			now[state] = float64(arrived(b, sink, out.B.Name)-before) / took.Seconds()
		}
		for _, state := range states[1:] {
			rates[state] = append(rates[state], now[state]/now["plain"])
		}
		b.Logf("round %d: %.0f packets/s plain, %.0f with rules, %.0f shaped", round+1, now["plain"], now["rules"], now["shaped"])
	}
	for state, bar := range map[string]float64{"rules": 0.8, "shaped": 0.6} {
		list := rates[state]
		slices.Sort(list)
		figure("kernel-pps-"+state, list[len(list)/2], "x-plain", "at-least", bar)
		figure("kernel-pps-"+state+"-quarter", list[len(list)/4], "x-plain", "info", 0)
		figure("kernel-pps-"+state+"-three-quarters", list[len(list)*3/4], "x-plain", "info", 0)
	}
}

// arrived is how many packets an interface of h has received.
func arrived(b *testing.B, h *netlab.Host, name string) (n uint64) {
	b.Helper()
	if err := h.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err == nil {
			n = link.Attrs().Statistics.RxPackets
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return n
}

// forwardNode programs the namespace as it is told, with interfaces that are no
// tunnels.
func forwardNode(devices, operators string) error {
	cfg := Config{Devices: devices, Operators: operators, found: true}.settled()
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	l := &links{cfg: &cfg, nl: nl}
	if l.devices, err = l.open(devices, nil); err != nil {
		return err
	}
	if l.operators, err = l.open(operators, nil); err != nil {
		return err
	}
	f, err := openFirewall("boothwire")
	if err != nil {
		return err
	}
	s := newShaper(l, 0)
	if err := s.start(); err != nil {
		return err
	}
	d := delta{alive: make(map[netip.Addr]time.Time), class: make(map[netip.Addr]uint16)}
	for n := range forwardSessions {
		v, _, _ := described(n)
		d.opened = append(d.opened, ways(&v)...)
		for _, a := range members(&v) {
			d.alive[a] = v.End
		}
		if n >= forwardOpen {
			continue
		}
		class, err := s.set(0, limits{})
		if err != nil {
			return err
		}
		d.class[v.Device.Addresses[0]] = class
	}
	if err := f.apply(&d, time.Now()); err != nil {
		return err
	}
	r := ruling{
		devices: uint32(l.devices.Attrs().Index), operators: uint32(l.operators.Attrs().Index),
		proof: netip.MustParseAddr("10.166.255.1"), mtu: 1500,
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "plain":
			for _, name := range []string{chainArrive, chainGuard, chainSpeak} {
				c := f.nft.AddChain(&nftables.Chain{Name: name, Table: f.table})
				f.nft.FlushChain(c)
				f.nft.DelChain(c)
			}
			err = f.nft.Flush()
		case "rules", "shaped":
			r.shaped = lines.Text() == "shaped"
			err = f.program(r)
		}
		if err == nil {
			err = forwardQueues(s, lines.Text() == "shaped")
		}
		if err != nil {
			return err
		}
		fmt.Println("@@ok")
	}
	return nil
}

// forwardQueues puts the trees of classes onto the interfaces, or takes them away.
func forwardQueues(s *shaper, on bool) error {
	if on == s.on {
		return nil
	}
	if !on {
		for _, link := range []netlink.Link{s.up, s.down} {
			if err := s.nl.QdiscDel(netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT})); err != nil {
				return err
			}
		}
		s.on = false
		clear(s.rooted)
		return nil
	}
	if err := s.start(); err != nil {
		return err
	}
	have := s.have
	s.have = make(map[uint16]limits)
	for class, want := range have {
		if _, err := s.set(class, want); err != nil {
			return err
		}
	}
	return nil
}

// forwardSender sends for a while whenever it is told, as every operator to his
// device, and says how long that took.
func forwardSender() error {
	c, err := net.ListenPacket("ip4:255", "0.0.0.0")
	if err != nil {
		return err
	}
	raw, err := ipv4.NewRawConn(c)
	if err != nil {
		return err
	}
	var batch []ipv4.Message
	for n := range 2 * forwardOpen {
		v, _, _ := described(n % forwardOpen)
		b := packet.AppendEcho(nil, v.Operators[0].Address, v.Device.Addresses[0], 1, 1, nil, forwardPacket)
		b[9] = packet.TCP
		clear(b[20:])
		binary.BigEndian.PutUint16(b[20:], 40000)
		binary.BigEndian.PutUint16(b[22:], 22)
		b[32], b[33] = 0x50, packet.ACK
		binary.BigEndian.PutUint16(b[10:], 0)
		binary.BigEndian.PutUint16(b[10:], packet.Checksum(b[:20], 0))
		batch = append(batch, ipv4.Message{Buffers: [][]byte{b}, Addr: &net.IPAddr{IP: v.Device.Addresses[0].AsSlice()}})
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		began := time.Now()
		for time.Since(began) < forwardWindow {
			if _, err := raw.WriteBatch(batch, 0); err != nil {
				return err
			}
		}
		fmt.Printf("@@%v\n", time.Since(began))
	}
	return nil
}
