package signaling_test

import (
	"context"
	"fmt"
	"log"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// The smallest command there is.
func ExampleParseCommand() {
	c, err := signaling.ParseCommand([]byte(`{"action":"VPN_CONNECT","server":"wg-bj-01"}`))
	fmt.Println(c.Action, c.Server, err)
	_, err = signaling.ParseCommand([]byte(`{"action":"vpn_down","Action":"vpn_up"}`))
	fmt.Println(err.(*signaling.Error).Code())
	// Output:
	// vpn_up wg-bj-01 <nil>
	// malformed
}

// A device over the MQTT connection that its host holds already.
func ExampleServe() {
	device, err := keys.OpenDevice("kiosk-1", keys.NewMemory(), keys.Trust{Roots: []string{"G0/H7AsCn9YkDhSgHnXiYnBmPsvOmXuqGROZcNxjlSM="}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, hangUp := context.WithCancel(context.Background())
	ride := signaling.RideOn(device.ID(), func(_ context.Context, topic string, status []byte, retain bool) error {
		s, err := signaling.ParseStatus(status)
		fmt.Println(topic, s.VPN, retain, err)
		hangUp()
		return nil // what the host's own client says
	})
	ride.Connected(true) // when the host has subscribed to ride.Topic()

	err = signaling.Serve(ctx, ride, device, func(ctx context.Context, s *signaling.Session) error {
		// Bring a tunnel up with s.Grant here, and down when ctx ends.
		<-ctx.Done()
		return context.Cause(ctx)
	}, nil)
	fmt.Println(err)
	// Output:
	// iot/kiosk-1/status disconnected true <nil>
	// iot/kiosk-1/status disconnected true <nil>
	// <nil>
}

// What a host's connection receives is offered to the ride first.
func ExampleRide_Deliver() {
	ride := signaling.RideOn("kiosk-1", nil)
	fmt.Println(ride.Topic())
	fmt.Println(ride.Deliver("iot/kiosk-1/cmd", []byte(`{"action":"vpn_down"}`), false))
	fmt.Println(ride.Deliver("booth/print", []byte("photo.jpg"), false))
	// Output:
	// iot/kiosk-1/cmd
	// true
	// false
}

// Several ways to control, best first; what worked is remembered beside the
// device's keys.
func ExampleFallback() {
	mqtt := signaling.RideOn("kiosk-1", nil) // or mqtt.NewListener, https.NewListener
	https := signaling.RideOn("kiosk-1", nil)
	line := signaling.Fallback(keys.NewMemory(), mqtt, https)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	fmt.Println(line.Listen(ctx, new(ear)))
	// Output: context canceled
}
