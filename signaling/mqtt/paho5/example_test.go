package paho5_test

import (
	"context"
	"log"
	"net/url"

	"github.com/boothwire/boothwire/signaling/mqtt/paho5"
	"github.com/eclipse/paho.golang/autopaho"
)

// The application's configuration as it was, and one line more.
func ExampleAttach() {
	broker, err := url.Parse("mqtts://broker.example.com:8883")
	if err != nil {
		log.Fatal(err)
	}
	cfg := autopaho.ClientConfig{ServerUrls: []*url.URL{broker}, KeepAlive: 45}
	ride := paho5.Attach(&cfg, "kiosk-7")
	if _, err := autopaho.NewConnection(context.Background(), cfg); err != nil {
		log.Fatal(err)
	}
	log.Print(ride.Topic()) // ride is a signaling.Listener: for agent.New or signaling.Serve
}
