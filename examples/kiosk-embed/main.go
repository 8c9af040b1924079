// Command kiosk-embed is a photo booth that lets an engineer in over the MQTT
// connection that it already holds. Package booth is the booth as it was: its
// connection, its light and its customers. All that remote access adds is below.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/boothwire/boothwire/examples/kiosk-embed/booth"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel/agent"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	file := "booth.json"
	if len(os.Args) > 1 {
		file = os.Args[1]
	}
	b, err := booth.Open(ctx, file)
	if err == nil {
		err = remoteAccess(ctx, b)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// remoteAccess lets engineers in until ctx ends.
func remoteAccess(ctx context.Context, b *booth.Booth) error {
	device, err := keys.OpenDevice(b.ID, keys.Dir(b.State), keys.Trust{Roots: b.Roots})
	if err != nil {
		return err
	}
	log.Printf("identity %v: register it with boothctl devices add %s", device.Key(), b.ID)
	ride := signaling.RideOn(b.ID, b.Publish)
	b.Subscribe(ride.Topic(), func(topic string, payload []byte, retained bool) { ride.Deliver(topic, payload, retained) })
	b.OnConnection(ride.Connected)

	remote, err := agent.New(device, ride, &agent.Config{
		MayOpen:  func(context.Context, agent.Session) error { return b.Busy() },
		Opened:   func(s agent.Session) { log.Printf("open to %v for %v", s.Operators, s.Lifetime) },
		Closed:   func(s agent.Session, why error) { log.Printf("closed to %v: %v", s.Operators, why) },
		Services: b.Services(),
	})
	if err != nil {
		return err
	}
	go func() {
		for e := range remote.Events(ctx) {
			b.Light(e.State == signaling.Connected)
		}
	}()
	return remote.Run(ctx)
}
