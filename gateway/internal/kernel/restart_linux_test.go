package kernel

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/kernelvm"
)

// envNode makes this process a node with the key and the sessions that stand in it,
// until it is killed.
const envNode = "BOOTHWIRE_KERNEL_NODE"

type nodeState struct {
	Key      string
	Sessions []reach.Session
}

func (n nodeState) open(t testing.TB, proved func(string)) *Plane {
	t.Helper()
	cfg := Config{Pool: netip.MustParsePrefix("10.166.0.0/16"), Proof: netip.MustParseAddr("10.166.255.1"), Listen: 51820, Proved: proved}
	hex.Decode(cfg.PrivateKey[:], []byte(n.Key))
	p, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (n nodeState) set(t testing.TB, p *Plane) {
	t.Helper()
	for _, s := range n.Sessions {
		if err := p.Set(s); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGuestNode is the process that TestGuestRestart kills.
func TestGuestNode(t *testing.T) {
	text := os.Getenv(envNode)
	if text == "" {
		t.Skip("is a part of TestGuestRestart")
	}
	var n nodeState
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	p := n.open(t, nil)
	n.set(t, p)
	if err := p.Settle(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("@@NODE")
	select {}
}

// A node that is killed leaves its sessions as they are; the next process takes them
// over without a packet lost, and takes away what ended meanwhile.
func TestGuestRestart(t *testing.T) {
	kernelvm.Guest(t)
	node := newKey()
	state := nodeState{Key: hex.EncodeToString(node.private[:])}
	one, dev, op := described(1)
	other, otherDev, otherOp := described(2)
	unlimited, _, _ := described(3)
	// The device of the fourth is about to change its key when the node is killed.
	turning, turningDev, turningOp := described(4)
	nextDev := newKey()
	turned := turning
	turned.Device.Key = nextDev.public
	for _, s := range []*reach.Session{&one, &unlimited, &turning, &turned, &other} {
		s.Down = 50_000_000
		state.Sessions = append(state.Sessions, *s)
	}
	text, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestGuestNode$", "-test.v")
	cmd.Env = append(os.Environ(), envNode+"="+string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	up := false
	for lines := bufio.NewScanner(out); !up && lines.Scan(); {
		up = lines.Text() == "@@NODE"
	}
	if !up {
		t.Fatal("the node did not come up")
	}
	device := newEnd(t, dev, node.public, 51820, one.Device.Addresses[0])
	device.echoes(t, 22)
	device2 := newEnd(t, otherDev, node.public, 51820, other.Device.Addresses[0])
	device2.echoes(t, 22)
	c := newEnd(t, op, node.public, 51821, one.Operators[0].Address).dial(t, one.Device.Addresses[0], 22)
	c2 := newEnd(t, otherOp, node.public, 51821, other.Operators[0].Address).dial(t, other.Device.Addresses[0], 22)
	turningDevice := newEnd(t, turningDev, node.public, 51820, turning.Device.Addresses[0])
	turningDevice.echoes(t, 22)
	turningOperator := newEnd(t, turningOp, node.public, 51821, turning.Operators[0].Address)
	c4 := turningOperator.dial(t, turning.Device.Addresses[0], 22)
	works(t, "before", c, 100_000)
	works(t, "before, the other", c2, 1000)
	works(t, "before, with a next key", c4, 1000)

	cmd.Process.Kill()
	cmd.Wait()
	works(t, "without a process", c, 100_000)

	state.Sessions = []reach.Session{one, unlimited, turned} // as the last grants have it
	state.Sessions[1].Down = 0
	proved := make(chan string, 10)
	p := state.open(t, func(id string) { proved <- id })
	defer p.Close()
	works(t, "found again", c, 1000)
	before := p.devices.have[dev.public]
	if len(before) != 1 {
		t.Fatalf("the device's peer was not found: %v", p.devices.have)
	}
	state.set(t, p)
	works(t, "set again", c, 1000)
	works(t, "set again, with a next key", c4, 1000)
	if p.sessions[one.ID].class == 0 || p.sessions[one.ID].class != p.firewall.classes[one.Device.Addresses[0]] {
		t.Errorf("the class is %x, was %x", p.sessions[one.ID].class, p.firewall.classes[one.Device.Addresses[0]])
	}
	if all := classes(t, p.links.devices); len(all) != 2+3 { // the root, the first, and of the three sessions left
		t.Errorf("the classes are %v", all)
	}
	works(t, "before Settle, the other", c2, 1000)
	if err := p.Settle(); err != nil {
		t.Fatal(err)
	}
	works(t, "settled", c, 100_000)
	works(t, "settled, with a next key", c4, 1000)
	if n := p.Counters(one.ID); n.Rx < 300_000 || n.Tx < 300_000 {
		t.Errorf("the counters began anew: %+v", n)
	}
	heard := func(want string) {
		t.Helper()
		select {
		case id := <-proved:
			if id != want {
				t.Errorf("proved: %s, want %s", id, want)
			}
		case <-time.After(patience):
			t.Errorf("the device of %s was not heard of", want)
		}
	}
	heard(one.ID)
	next := newEnd(t, nextDev, node.public, 51820, turning.Device.Addresses[0])
	next.echoes(t, 22)
	if !next.pinged(t, p.proof, 100) {
		t.Error("the next key does not take over")
	}
	heard(turning.ID)
	works(t, "with its next key", turningOperator.dial(t, turning.Device.Addresses[0], 22), 1000)
	p.Remove(turning.ID)
	p.Remove(unlimited.ID)
	if d, err := p.wg.Device("wgd0"); err != nil || len(d.Peers) != 1 || d.Peers[0].PublicKey != dev.public || d.Peers[0].LastHandshakeTime.IsZero() {
		t.Errorf("devices: %+v, %v", d.Peers, err)
	}
	if d, err := p.wg.Device("wgo0"); err != nil || len(d.Peers) != 1 || d.Peers[0].PublicKey != op.public {
		t.Errorf("operators: %+v, %v", d.Peers, err)
	}
	c2.SetDeadline(time.Now().Add(2 * time.Second))
	c2.Write([]byte("x"))
	if _, err := c2.Read(make([]byte, 1)); err == nil {
		t.Error("the session that ended meanwhile goes on")
	}
	left := []int{len(p.firewall.alive), len(p.firewall.ways), len(p.firewall.classes), len(p.links.routes)}
	if fmt.Sprint(left) != "[2 3 2 1]" {
		t.Errorf("left in the table: %v", left)
	}
	// Moved away and back, the device has to come anew.
	p.Remove(one.ID)
	if err := p.Set(one); err != nil {
		t.Fatal(err)
	}
	if !p.firewall.unproved[one.Device.Addresses[0]] {
		t.Error("a device that has not come yet counts as heard of")
	}
}
