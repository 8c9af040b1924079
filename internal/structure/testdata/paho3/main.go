// Command paho3 rides on an MQTT 3.1.1 connection of the host's.
package main

import (
	"fmt"

	"github.com/boothwire/boothwire/signaling/mqtt/paho3"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

func main() {
	opts := mqtt.NewClientOptions()
	ride := paho3.Attach(opts, "press-7")
	fmt.Println(ride.Topic(), mqtt.NewClient(opts).Connect().Error())
}
