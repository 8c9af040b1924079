package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/signalingtest"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/agent"
)

const patience = 30 * time.Second

var (
	deviceAddr   = netip.MustParseAddr("10.166.0.5")
	operatorAddr = netip.MustParseAddr("10.166.192.1")
)

// A rig is an agent with a node, a broker and a control that only signs.
type rig struct {
	t        *testing.T
	device   *keys.Device
	agent    *agent.Agent
	node     *gateway.Node
	broker   *signalingtest.Broker
	fleet    *signaling.FleetRide
	signer   *keys.Signer
	roots    *keys.Roots
	service  net.Listener
	end      func() error // of Run
	statuses statuses
}

func newRig(t *testing.T, cfg *agent.Config) *rig {
	t.Helper()
	r := &rig{t: t, broker: signalingtest.New()}
	store := keys.NewMemory()
	root, online := must(keys.OpenIdentity(store, "root")), must(keys.OpenIdentity(store, "online"))
	record := must(keys.SignRecord(root, keys.Record{ID: "control-1", Key: online.Key(), Epoch: 1,
		Scope: []string{keys.TypeGrant, keys.TypeDown, keys.TypeAsk}}))
	r.signer = must(keys.NewSigner(online, record))
	r.roots = must(keys.ParseRoots("", root.Key().String()))
	r.node = must(gateway.Open(t.Context(), "wg-1", r.roots, &gateway.Config{Endpoints: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}))
	t.Cleanup(func() { r.node.Close() })
	r.service = must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { r.service.Close() })
	go echo(r.service)

	r.device = must(keys.OpenDevice("kiosk-1", keys.NewMemory(), keys.Trust{Roots: []string{root.Key().String()}}))
	c := agent.Config{}
	if cfg != nil {
		c = *cfg
	}
	c.Mode = tunnel.Driverless
	c.Services = map[keys.Port]string{keys.TCP(22): r.service.Addr().String()}
	r.agent = must(agent.New(r.device, r.broker.Device("kiosk-1"), &c))
	r.fleet = r.broker.Fleet("control")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.agent.Run(ctx) }()
	r.end = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { r.end() })
	go func() {
		for m, err := range r.fleet.Statuses(ctx) {
			if err != nil {
				return
			}
			r.statuses.add(m)
		}
	}()
	r.broker.Online("kiosk-1", true)
	r.broker.Online("control", true)
	r.wait("the line is up", func() bool { return r.agent.Status().Line })
	return r
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func echo(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() { io.Copy(c, c); c.Close() }()
	}
}

// grant makes the grant of a session for one operator with a fresh prekey.
func (r *rig) grant(session string, rev int, operator keys.PublicKey) *keys.Grant {
	r.t.Helper()
	batch := must(keys.VerifyPrekeys(r.device.Prekeys(), "", "kiosk-1", r.device.Key()))
	return &keys.Grant{
		Session: session, Rev: rev, Device: "kiosk-1", Boot: batch.Boot, Prekey: batch.Keys[0],
		Addresses: []netip.Addr{deviceAddr}, Far: r.node.FarEnd(),
		Operators: []keys.Operator{{ID: "op-1", Key: operator, Address: operatorAddr, Ports: []keys.Port{keys.TCP(22)}}},
		Lifetime:  time.Hour, End: time.Now().Add(time.Hour),
	}
}

// send installs a grant at the node and wakes the device with it.
func (r *rig) send(g *keys.Grant) []byte {
	r.t.Helper()
	token := must(g.Sign(r.signer))
	if err := r.node.Admit(r.t.Context(), token); err != nil {
		r.t.Fatal(err)
	}
	r.command(signaling.Command{ID: fmt.Sprint("up-", g.Session, "-", g.Rev), Action: signaling.Up, Token: token})
	return token
}

func (r *rig) down(session string) {
	r.t.Helper()
	token := must(r.signer.Sign(keys.TypeDown, fmt.Appendf(nil, `{"session":%q,"device":"kiosk-1","why":"closed"}`, session)))
	r.command(signaling.Command{ID: "down-" + session, Action: signaling.Down, Token: token})
}

func (r *rig) command(c signaling.Command) {
	r.t.Helper()
	if err := r.fleet.Send(r.t.Context(), "kiosk-1", must(json.Marshal(c))); err != nil {
		r.t.Fatal(err)
	}
}

// dial brings the operator's tunnel up and reaches the device's port.
func (r *rig) dial(g *keys.Grant, key keys.PrivateKey, port int) (*tunnel.Tunnel, net.Conn, error) {
	r.t.Helper()
	c := tunnel.ForOperator(g, key)
	c.Mode = tunnel.Driverless
	t := must(tunnel.Up(r.t.Context(), c))
	r.t.Cleanup(func() { t.Close() })
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	conn, err := t.Dial(ctx, "tcp", net.JoinHostPort(deviceAddr.String(), strconv.Itoa(port)))
	return t, conn, err
}

// wait waits until ok.
func (r *rig) wait(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	r.t.Fatalf("not in %v: %s (agent: %+v)", patience, what, r.agent.Status())
}

// waitState waits for the agent's state.
func (r *rig) waitState(s signaling.State) {
	r.t.Helper()
	r.wait("the agent is "+string(s), func() bool { return r.agent.Status().State == s })
}

// statuses are the verified words of the device.
type statuses struct {
	mu  sync.Mutex
	all []*signaling.Status
}

func (s *statuses) add(m signaling.Message) {
	st, err := signaling.ParseStatus(m.Payload)
	if err != nil || len(st.Token) == 0 {
		return
	}
	for _, typ := range []string{keys.TypeStatus, keys.TypeReply} {
		_, key, err := keys.StatementKey(st.Token)
		if err != nil {
			continue
		}
		if said, err := keys.VerifyStatement(typ, st.Token, "", "kiosk-1", key); err == nil {
			if inner, err := signaling.ParseStatus(said.Payload); err == nil {
				s.mu.Lock()
				s.all = append(s.all, inner)
				s.mu.Unlock()
			}
		}
	}
}

// find is the latest status for which ok holds.
func (s *statuses) find(ok func(*signaling.Status) bool) *signaling.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.all) - 1; i >= 0; i-- {
		if ok(s.all[i]) {
			return s.all[i]
		}
	}
	return nil
}
