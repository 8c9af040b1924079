package signaling_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/signalingtest"
)

// authority is what control signs with, and one device that trusts it.
type authority struct {
	t      testing.TB
	root   *keys.Identity
	signer *keys.Signer
	device *keys.Device
	node   keys.PublicKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	store := keys.NewMemory()
	root := must(keys.OpenIdentity(store, "root"))
	online := must(keys.OpenIdentity(store, "online"))
	scope := []string{keys.TypeGrant, keys.TypeAsk, keys.TypeDown}
	record := must(keys.SignRecord(root, keys.Record{Issuer: keys.DefaultIssuer, ID: "s1", Key: online.Key(), Scope: scope, Epoch: 1}))
	trust := keys.Trust{Roots: []string{root.Key().String()}}
	return &authority{
		t: t, root: root, signer: must(keys.NewSigner(online, record)),
		device: must(keys.OpenDevice("kiosk-1", keys.NewMemory(), trust)), node: keys.NewPrivateKey().Public(),
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// prekey returns an unused key of the device.
func (a *authority) prekey(i int) keys.PublicKey {
	return must(keys.VerifyPrekeys(a.device.Prekeys(), "", a.device.ID(), a.device.Key())).Keys[i]
}

// grant signs a grant for session, changed by f.
func (a *authority) grant(session string, rev int, prekey keys.PublicKey, f ...func(*keys.Grant)) []byte {
	g := &keys.Grant{
		Session: session, Rev: rev, Device: a.device.ID(), Prekey: prekey,
		Addresses: []netip.Addr{netip.MustParseAddr("10.166.0.5")},
		Far:       keys.FarEnd{Node: "wg-bj-01", Key: a.node, Proof: netip.MustParseAddr("10.166.0.1"), Endpoints: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:51820")}},
		Lifetime:  time.Hour,
	}
	for _, f := range f {
		f(g)
	}
	return must(g.Sign(a.signer))
}

func (a *authority) sign(typ string, payload any) []byte {
	return must(a.signer.Sign(typ, must(json.Marshal(payload))))
}

func (a *authority) down(session string) []byte {
	return a.sign(keys.TypeDown, map[string]string{"session": session, "device": a.device.ID(), "why": "ticket closed"})
}

// command is a command as it travels.
func command(c signaling.Command) []byte { return must(json.Marshal(c)) }

// desk is control's side of a test: it reads what the device publishes and
// verifies it.
type desk struct {
	a      *authority
	broker *signalingtest.Broker

	mu  sync.Mutex
	all []*seen
}

// seen is one verified message of the device.
type seen struct {
	signaling.Status // of its token, or the message itself where it has none
	Outer            *signaling.Status
	Retained         bool // to be kept
	Kind             string
}

func newDesk(a *authority) *desk {
	d := &desk{a: a, broker: signalingtest.New()}
	d.broker.Subscribe("iot/+/status", d.read)
	return d
}

func (d *desk) read(p signalingtest.Packet) {
	outer, err := signaling.ParseStatus(p.Payload)
	if err != nil {
		d.a.t.Errorf("the device published %q: %v", p.Payload, err)
		return
	}
	s := &seen{Status: *outer, Outer: outer}
	if outer.Token != nil {
		s.Kind = keys.TypeReply
		st, err := keys.VerifyStatement(keys.TypeReply, outer.Token, "", d.a.device.ID(), d.a.device.Key())
		if err != nil {
			s.Kind = keys.TypeStatus
			st, err = keys.VerifyStatement(keys.TypeStatus, outer.Token, "", d.a.device.ID(), d.a.device.Key())
		}
		if err != nil {
			d.a.t.Errorf("the device published a token that is none: %v", err)
			return
		}
		inner, err := signaling.ParseStatus(st.Payload)
		if err != nil {
			d.a.t.Errorf("the device signed %q: %v", st.Payload, err)
			return
		}
		s.Status = *inner
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, s)
}

// take returns what was published since the last call.
func (d *desk) take() []*seen {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.all
	d.all = nil
	return out
}

// kind returns those of one kind.
func kind(typ string, list []*seen) (out []*seen) {
	for _, s := range list {
		if s.Kind == typ {
			out = append(out, s)
		}
	}
	return out
}

// serve runs Serve for the device of the desk until the returned func is
// called, which returns what Serve did. It waits until Serve listens.
func (d *desk) serve(h signaling.Handler, cfg *signaling.Config) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	line := d.broker.Device(d.a.device.ID())
	done := make(chan error, 1)
	go func() { done <- signaling.Serve(ctx, line, d.a.device, h, cfg) }()
	synctest.Wait()
	return func() error { cancel(); return <-done }
}

func (d *desk) send(c signaling.Command) {
	d.broker.Publish("iot/"+d.a.device.ID()+"/cmd", command(c), false)
}
