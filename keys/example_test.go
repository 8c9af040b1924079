package keys_test

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// authority makes what a deployment has: an offline root, and an online
// signer with the root's record of it.
func authority() (roots []string, signer *keys.Signer) {
	offline, online := keys.NewMemory(), keys.NewMemory()
	root, err := keys.OpenIdentity(offline, "root")
	if err != nil {
		panic(err)
	}
	id, err := keys.OpenIdentity(online, "signer")
	if err != nil {
		panic(err)
	}
	record, err := keys.SignRecord(root, keys.Record{
		ID: "control-1", Key: id.Key(), Epoch: 1,
		Scope: []string{keys.TypeGrant, keys.TypeAsk, keys.TypeDown},
	})
	if err != nil {
		panic(err)
	}
	signer, err = keys.NewSigner(id, record)
	if err != nil {
		panic(err)
	}
	return []string{root.Key().String()}, signer
}

// grantFor makes a grant for one published prekey.
func grantFor(device string, prekey keys.PublicKey, node keys.PublicKey) *keys.Grant {
	return &keys.Grant{
		Session: keys.NewID(), Rev: 1, Device: device, Prekey: prekey,
		Addresses: []netip.Addr{netip.MustParseAddr("10.166.0.5")},
		Far: keys.FarEnd{
			Node: "wg-bj-01", Key: node, Proof: netip.MustParseAddr("10.166.0.1"),
			Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:51820")},
		},
		Operators: []keys.Operator{{
			ID: "op-1", Key: keys.NewPrivateKey().Public(),
			Address: netip.MustParseAddr("10.166.128.1"), Ports: []keys.Port{keys.TCP(22)},
		}},
		Lifetime: time.Hour, End: time.Now().Add(time.Hour),
	}
}

// From a device's offer to the key of its tunnel.
func ExampleDevice_Accept() {
	roots, signer := authority()
	device, err := keys.OpenDevice("press-7", keys.NewMemory(), keys.Trust{Roots: roots})
	if err != nil {
		panic(err)
	}

	// Control knows the device's identity key and gets its batch.
	batch, err := keys.VerifyPrekeys(device.Prekeys(), "", "press-7", device.Key())
	if err != nil {
		panic(err)
	}
	node := keys.NewPrivateKey()
	token, err := grantFor("press-7", batch.Keys[0], node.Public()).Sign(signer)
	if err != nil {
		panic(err)
	}

	grant, key, err := device.Accept(token)
	if err != nil {
		panic(err)
	}
	fmt.Println(grant.Far.Node, grant.Operators[0].Ports, key.Public() == batch.Keys[0])

	device.End(grant.Session)
	_, _, err = device.Accept(token)
	var refused *keys.GrantError
	fmt.Println(errors.As(err, &refused), refused.Reason, key.IsZero())
	// Output:
	// wg-bj-01 [tcp/22] true
	// true closed true
}

// What a device signs, verified under the key that was registered for it.
func ExampleVerifyStatement() {
	roots, _ := authority()
	device, err := keys.OpenDevice("press-7", keys.NewMemory(), keys.Trust{Roots: roots})
	if err != nil {
		panic(err)
	}
	token, err := device.Sign(keys.TypeStatus, []byte(`{"vpn":"disconnected"}`))
	if err != nil {
		panic(err)
	}
	s, err := keys.VerifyStatement(keys.TypeStatus, token, device.Issuer(), "press-7", device.Key())
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s %s\n", s.Device, s.Payload)
	_, err = keys.VerifyStatement(keys.TypeReply, token, device.Issuer(), "press-7", device.Key())
	fmt.Println(err)
	// Output:
	// press-7 {"vpn":"disconnected"}
	// keys: wrong_kind: not a bw-reply
}

// A node verifies for itself what control handed it.
func ExampleRoots_VerifyGrant() {
	text, signer := authority()
	node := keys.NewPrivateKey().Public()
	token, err := grantFor("press-7", keys.NewPrivateKey().Public(), node).Sign(signer)
	if err != nil {
		panic(err)
	}
	roots, err := keys.ParseRoots("", text...)
	if err != nil {
		panic(err)
	}
	grant, err := roots.VerifyGrant(token)
	if err != nil {
		panic(err)
	}
	fmt.Println(grant.ForNode("wg-bj-01", node, time.Now()))
	fmt.Println(grant.ForNode("wg-bj-01", node, grant.End))
	// Output:
	// <nil>
	// keys: expired: past its end
}
