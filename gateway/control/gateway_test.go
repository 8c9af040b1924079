package control

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/boothwire/boothwire/gateway"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// A real node over a real network: enrolled by a claim that pins control's
// certificate, it takes a session in and lets it go.
func TestRealNode(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	id, err := keys.OpenIdentity(keys.NewMemory(), "control")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := keys.TLSCertificate(id, "control")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo)
	w := newWorld(t, &Config{Pin: base64.RawURLEncoding.EncodeToString(sum[:])})
	var serving atomic.Pointer[Control]
	serving.Store(w.c)
	server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { serving.Load().ServeHTTP(rw, r) })
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()

	claim, err := w.admin.ClaimNode(t.Context(), "wg-1")
	if err != nil {
		t.Fatal(err)
	}
	store := keys.NewMemory()
	e, err := gateway.Enroll(t.Context(), server.URL, store, &gateway.EnrollConfig{Claim: claim.Claim, Name: "wg-1", HTTP: &http.Client{Transport: &http.Transport{}}})
	if err != nil {
		t.Fatal(err)
	}
	roots, err := e.OpenRoots(store)
	if err != nil {
		t.Fatal(err)
	}
	node, err := gateway.Open(t.Context(), e.Name, roots, &gateway.Config{Store: store, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	follow := func() func() {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = node.Follow(ctx, server.URL, &gateway.FollowConfig{HTTP: &http.Client{Transport: &http.Transport{}}})
		}()
		eventually(t, "the node", func() bool {
			for n := range w.admin.Nodes(t.Context()) {
				return n.State == "connected" && len(n.Endpoints) == 1
			}
			return false
		})
		return func() { cancel(); <-done }
	}
	stop := follow()
	b := w.booth("kiosk-1", true).serve().known()
	s := w.mustOpen(op("ann"), "kiosk-1")
	if list := node.Sessions(); len(list) != 1 || list[0].ID != s.ID || list[0].Rev != 1 {
		t.Fatalf("the node has %+v", list)
	}
	eventually(t, "the device", func() bool { return b.last() != nil })
	if g := b.last(); g.Far.Key != node.FarEnd().Key || g.Far.Proof != node.FarEnd().Proof || g.Far.Endpoints[0] != node.FarEnd().Endpoints[0] {
		t.Errorf("the grant says %+v, the node is %+v", b.last().Far, node.FarEnd())
	}
	w.mustOpen(op("bob"), "kiosk-1")
	if list := node.Sessions(); len(list) != 1 || list[0].Rev != 2 || list[0].Operators != 2 {
		t.Errorf("the node has %+v", list)
	}
	// Control goes and comes back; the node finds it by itself.
	w.restart()
	serving.Store(w.c)
	eventually(t, "the node again", func() bool { return w.c.Stats().Nodes == 1 })
	// Closed while the node is away: it is told when it is back.
	stop()
	eventually(t, "the node is away", func() bool { return w.c.Stats().Nodes == 0 })
	boss := w.c.Client(User{Name: "boss", Role: Approver})
	if _, err := boss.CloseForAll(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if len(node.Sessions()) != 1 {
		t.Error("the node closed it unasked")
	}
	stop = follow()
	w.reaches(s.ID, client.Closed)
	if list := node.Sessions(); len(list) != 0 {
		t.Errorf("the node still has %+v", list)
	}
	stop()
	http.DefaultClient.CloseIdleConnections()
}
