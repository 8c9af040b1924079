//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/internal/testca"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/nat"
	"github.com/boothwire/boothwire/relay/server"
)

// A pathWorld is a device and an operator, each behind a home's NAT, and a far end
// with a public address, with a relay and STUN in between. No control takes part.
type pathWorld struct {
	t                      testing.TB
	lab                    *netlab.Lab
	ca                     *testca.CA
	public                 *netlab.Host
	device, operator, open *netlab.Site
	signer                 *keys.Signer
	key                    keys.PrivateKey // the relay's
}

// The public host of a pathWorld: a relay on 443, and STUN.
const (
	pathPublic = "203.0.113.10"
	pathRelay  = "r-1"
)

func newPathWorld(t testing.TB, uplink netlab.Emulation) *pathWorld {
	t.Helper()
	w := &pathWorld{t: t, lab: netlab.New(t), ca: testca.New(t, t.TempDir()), key: keys.NewPrivateKey()}
	internet := w.lab.Switch("internet")
	w.public = w.lab.Host("public")
	w.lab.Link(w.public, pathPublic+"/24", internet, "")
	w.device = w.lab.Site("device", netlab.PortRestricted, internet, 1, netlab.SiteConfig{Uplink: uplink})
	w.operator = w.lab.Site("operator", netlab.PortRestricted, internet, 2, netlab.SiteConfig{Uplink: uplink})
	w.open = w.lab.Site("open", netlab.Open, internet, 3, netlab.SiteConfig{})
	w.lab.Start()
	w.serveRelay()
	var stun net.PacketConn
	if err := w.public.Do(func() (err error) { stun, err = net.ListenPacket("udp", pathPublic+":3478"); return }); err != nil {
		t.Fatal(err)
	}
	w.serve("STUN", func(ctx context.Context) error { defer stun.Close(); return nat.ServeSTUN(ctx, stun) })
	return w
}

// serveRelay runs a relay for a control that only signs.
func (w *pathWorld) serveRelay() {
	t, store := w.t, keys.NewMemory()
	root, online := must(keys.OpenIdentity(store, "root")), must(keys.OpenIdentity(store, "online"))
	record := must(keys.SignRecord(root, keys.Record{ID: "control-1", Key: online.Key(), Epoch: 1, Scope: []string{keys.TypeRelay}}))
	w.signer = must(keys.NewSigner(online, record))
	cert, key := w.ca.Server("relay", []string{pathPublic})
	srv := must(server.New(pathRelay, w.key, must(keys.ParseRoots("", root.Key().String())), &server.Config{
		TLS: &tls.Config{Certificates: []tls.Certificate{w.ca.Pair(cert, key)}}, Drain: time.Millisecond,
	}))
	var ln net.Listener
	if err := w.public.Do(func() (err error) { ln, err = net.Listen("tcp", ":443"); return }); err != nil {
		t.Fatal(err)
	}
	w.serve("relay", func(ctx context.Context) error { return srv.Serve(ctx, ln) })
}

// serve runs f until the test ends.
func (w *pathWorld) serve(name string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("%s: %v", name, err)
		}
	})
}

// A joined is the two ends of a tunnel, each a process.
type joined struct {
	t                testing.TB
	device, operator *endProcess
}

// Ways that the ends of a tunnel meet.
const (
	endToEnd   = "end to end" // both behind NATs, direct and by the relay
	byNode     = "by node"    // the operator's end has a public address, and is only called
	nodeListen = 51820
)

// tunnel starts two ends, of which the operator's sends a packet so often.
func (w *pathWorld) tunnel(how string, every time.Duration) *joined {
	w.t.Helper()
	dk, ok := keys.NewPrivateKey(), keys.NewPrivateKey()
	token := keys.Token{
		Session: keys.NewID(), Rev: 1, Relays: []string{pathRelay}, End: time.Now().Add(time.Hour),
		Ends: [2]keys.PublicKey{dk.Public(), ok.Public()},
	}
	device := tunnelEnd{
		Device: true, Key: dk.Expose(), Far: ok.Public().String(), Own: netip.MustParseAddr("10.166.0.5"), To: netip.MustParseAddr("10.166.255.9"),
		CA: w.ca.File, STUN: []string{pathPublic}, Secret: token.Session, Every: every, Verbose: os.Getenv("BOOTHWIRE_PATH_LOG") != "",
	}
	operator := device
	operator.Device, operator.Key, operator.Far, operator.Own, operator.To = false, ok.Expose(), dk.Public().String(), device.To, device.Own
	far := w.operator.Host
	if how == byNode {
		device.Node = netip.AddrPortFrom(w.open.Public, nodeListen)
		operator.Listen, far = nodeListen, w.open.Host
	} else {
		for leg, e := range []*tunnelEnd{&device, &operator} {
			token.Leg = leg
			e.Relays = []keys.Relay{{URL: "https://" + pathPublic + "/relay", Key: w.key.Public(), Token: string(must(token.Sign(w.signer)))}}
		}
	}
	j := &joined{t: w.t, device: w.startEndProcess(w.device.Host, device), operator: w.startEndProcess(far, operator)}
	go j.device.pump(j.operator)
	go j.operator.pump(j.device)
	w.t.Cleanup(j.end)
	return j
}

// look returns what an end has seen since the look before.
func (j *joined) look(p *endProcess) *tunnelTally {
	j.t.Helper()
	p.say(word{Reset: true})
	select {
	case y := <-p.tally:
		return y
	case <-p.gone:
		j.t.Fatalf("an end is gone: %s", p.stderr.String())
	case <-time.After(patience):
		j.t.Fatal("an end does not answer")
	}
	return nil
}

// await waits until both ends have come to something.
func (j *joined) await(what string, ok func(*tunnelTally) bool) {
	j.t.Helper()
	eventually(j.t, what, func() error {
		if d, o := j.look(j.device), j.look(j.operator); !ok(d) || !ok(o) {
			return fmt.Errorf("device %+v, operator %+v", d, o)
		}
		return nil
	})
}

// settle waits until the direct path carries both ways and the relay stands by.
func (j *joined) settle() {
	j.t.Helper()
	j.await("the tunnel is settled", func(y *tunnelTally) bool { return y.Settled && y.Path == "direct" })
}

// end may be called again.
func (j *joined) end() {
	for _, p := range []*endProcess{j.device, j.operator} {
		p.stdin.Close()
		<-p.gone
	}
}

// An endProcess is a process that plays an end.
type endProcess struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.Reader
	mu     sync.Mutex // of out
	out    *json.Encoder
	tally  chan *tunnelTally
	stderr *logBuffer
	gone   chan struct{}
}

func (w *pathWorld) startEndProcess(h *netlab.Host, e tunnelEnd) *endProcess {
	w.t.Helper()
	p := &endProcess{tally: make(chan *tunnelTally, 1), gone: make(chan struct{}), stderr: new(logBuffer)}
	p.cmd = h.Command(context.Background(), must(os.Executable()))
	p.cmd.Env = append(os.Environ(), tunnelEndEnv+"="+string(must(json.Marshal(e))))
	p.cmd.Stderr = p.stderr
	if e.Verbose {
		p.cmd.Stderr = os.Stderr
	}
	p.stdin, p.stdout = must(p.cmd.StdinPipe()), must(p.cmd.StdoutPipe())
	p.out = json.NewEncoder(p.stdin)
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// pump carries p's offers to the other end.
func (p *endProcess) pump(other *endProcess) {
	defer close(p.gone)
	for in := json.NewDecoder(p.stdout); ; {
		var said word
		if in.Decode(&said) != nil {
			break
		}
		if said.Tally != nil {
			p.tally <- said.Tally
		} else {
			other.say(said)
		}
	}
	p.cmd.Wait()
}

func (p *endProcess) say(w word) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(w)
}
