package paho3_test

import (
	"log"

	"github.com/boothwire/boothwire/signaling/mqtt/paho3"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// The application's options as they were, and one line more.
func ExampleAttach() {
	opts := mqtt.NewClientOptions().AddBroker("ssl://broker.example.com:8883").SetClientID("kiosk-7")
	ride := paho3.Attach(opts, "kiosk-7")
	if token := mqtt.NewClient(opts).Connect(); token.Wait() && token.Error() != nil {
		log.Fatal(token.Error())
	}
	log.Print(ride.Topic()) // ride is a signaling.Listener: for agent.New or signaling.Serve
}
