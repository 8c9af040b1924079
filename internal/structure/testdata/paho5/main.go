// Command paho5 rides on an MQTT 5 connection of the host's.
package main

import (
	"context"
	"fmt"

	"github.com/boothwire/boothwire/signaling/mqtt/paho5"
	"github.com/eclipse/paho.golang/autopaho"
)

func main() {
	cfg := autopaho.ClientConfig{}
	ride := paho5.Attach(&cfg, "press-7")
	_, err := autopaho.NewConnection(context.Background(), cfg)
	fmt.Println(ride.Topic(), err)
}
