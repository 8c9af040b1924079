package mqtt_test

import (
	"context"
	"fmt"
	"log"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/mqtt"
)

// A device that has no MQTT connection yet holds one of its own, and goes over
// WebSocket where only port 443 is open.
func ExampleNewListener() {
	ctx := context.Background()
	device, err := keys.OpenDevice("kiosk-7", keys.Dir("state"), keys.Trust{Roots: []string{"..."}})
	if err != nil {
		log.Fatal(err)
	}
	cfg := &mqtt.Config{Username: "kiosk-7", Password: "..."}
	direct, err := mqtt.NewListener(device, "mqtts://broker.example.com", cfg)
	if err != nil {
		log.Fatal(err)
	}
	web, err := mqtt.NewListener(device, "wss://broker.example.com", cfg)
	if err != nil {
		log.Fatal(err)
	}
	line := signaling.Fallback(nil, direct, web)
	err = signaling.Serve(ctx, line, device, func(ctx context.Context, s *signaling.Session) error {
		<-ctx.Done()
		return nil
	}, nil)
	log.Print(err)
}

// Control reads what all devices say, and sends to one.
func ExampleNewSender() {
	ctx := context.Background()
	fleet, err := mqtt.NewSender("mqtts://broker.example.com", &mqtt.Config{Username: "control", Password: "..."})
	if err != nil {
		log.Fatal(err)
	}
	for m, err := range fleet.Statuses(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Device, m.Retained)
	}
}
