package gateway

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/boothwire/boothwire/keys"
)

// A node is full of those who are there, not of those it remembers.
func TestCapacityOfKeys(t *testing.T) {
	a := newAuthority(t, "test")
	n, _, _ := newQuietNode(t, a, nil)
	over := newPair(n, 1)
	admit(t, n, a, &over.grant)
	if err := n.End(t.Context(), over.grant.Session); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	remembered := n.closed[over.grant.Session]
	for len(n.keys) < maxPeers {
		k := keys.PublicKey{1, 2, 3}
		binary.BigEndian.PutUint32(k[8:], uint32(len(n.keys)))
		n.keys[k] = over.grant.Session
		remembered.keys = append(remembered.keys, k)
	}
	n.closed[over.grant.Session] = remembered
	n.mu.Unlock()
	p := newPair(n, 2)
	if err := n.Admit(t.Context(), a.sign(t, &p.grant)); err != nil {
		t.Errorf("a node without a session: %v", err)
	}
	n.mu.Lock()
	for i := uint32(0); len(n.addresses) < maxPeers-1; i++ {
		n.addresses[netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})] = "others"
	}
	n.mu.Unlock()
	next := newPair(n, 3)
	if err := n.Admit(t.Context(), a.sign(t, &next.grant)); codeOf(err) != keys.ReasonBusy {
		t.Errorf("a node of %d peers: %v", maxPeers, err)
	}
	if err := n.Admit(t.Context(), a.sign(t, p.next(nil))); err != nil {
		t.Errorf("a later grant of a session that is there: %v", err)
	}
}
