// Command core uses the whole of the SDK's core and nothing else of ours: what
// it links, every host of a tunnel links.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel"
)

func main() {
	device, err := keys.OpenDevice("press-7", keys.Dir("state"), keys.Trust{Roots: []string{"root"}})
	if err != nil {
		log.Fatal(err)
	}
	ride := signaling.RideOn("press-7", func(context.Context, string, []byte, bool) error { return nil })
	line := signaling.Fallback(keys.Dir("state"), ride)
	fleet := signaling.RideOnFleet(func(context.Context, string, []byte, bool) error { return nil })
	fmt.Println(ride.Topic(), fleet.Filter())
	err = signaling.Serve(context.Background(), line, device, func(ctx context.Context, s *signaling.Session) error {
		return serve(ctx, device, s)
	}, nil)
	log.Fatal(err)
}

func serve(ctx context.Context, device *keys.Device, s *signaling.Session) error {
	grant, key, err := device.Accept(s.Grant)
	if err != nil {
		return err
	}
	t, err := tunnel.Up(ctx, tunnel.ForDevice(grant, key))
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Ready(ctx); err != nil {
		return err
	}
	s.Reach(signaling.Ready)
	ln, err := t.Listen(ctx, "tcp", ":22")
	if err != nil {
		return err
	}
	defer ln.Close()
	if err := t.Update(ctx, tunnel.ForOperator(grant, key)); err != nil {
		return err
	}
	conn, err := t.Dial(ctx, "tcp", "10.166.0.1:22")
	if err != nil {
		return err
	}
	defer conn.Close()
	for e := range t.Events(ctx) {
		fmt.Println(e, t.Status())
	}
	return t.Err()
}
