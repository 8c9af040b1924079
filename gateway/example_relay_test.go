package gateway_test

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/boothwire/boothwire/gateway"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/relay/server"
)

// A node that carries a relay in its own process: it needs no network for its own
// legs there, and passes on which sessions control has closed. Control's list of
// relays names this one, with its URL and key.Public().
func ExampleNode_Follow_relay() {
	run := func(ctx context.Context, store keys.Store, key keys.PrivateKey, certificate tls.Certificate) error {
		enrolment, err := gateway.Enroll(ctx, "https://control.example.com", store, &gateway.EnrollConfig{Claim: "bwn1..."})
		if err != nil {
			return err
		}
		roots, err := enrolment.OpenRoots(store)
		if err != nil {
			return err
		}
		carried, err := server.New("relay-bj-01", key, roots, &server.Config{
			TLS: &tls.Config{Certificates: []tls.Certificate{certificate}},
		})
		if err != nil {
			return err
		}
		ln, err := net.Listen("tcp", "203.0.113.30:443")
		if err != nil {
			return err
		}
		go carried.Serve(ctx, ln)

		near := func(ctx context.Context, of keys.PublicKey) (net.Conn, error) {
			if of != key.Public() {
				return nil, nil
			}
			return carried.Dial(ctx)
		}
		node, err := gateway.Open(ctx, enrolment.Name, roots, &gateway.Config{
			Store: store,
			Relay: func(ctx context.Context, relays []keys.Relay, key keys.PrivateKey) (net.Conn, error) {
				return relay.Dial(ctx, relays, key, &relay.Config{Near: near})
			},
		})
		if err != nil {
			return err
		}
		defer node.Close()
		return node.Follow(ctx, "https://control.example.com", &gateway.FollowConfig{Over: carried.Revoke})
	}
	_ = run
}
