// Command agent is a host of package agent with a line that it makes itself.
package main

import (
	"context"
	"log"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel/agent"
)

func main() {
	ctx := context.Background()
	device, err := keys.OpenDevice("press-7", keys.Dir("state"), keys.Trust{Roots: []string{"root"}})
	if err != nil {
		log.Fatal(err)
	}
	ride := signaling.RideOn("press-7", func(context.Context, string, []byte, bool) error { return nil })
	a, err := agent.New(device, ride, &agent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for e := range a.Events(ctx) {
			log.Print(e, a.Status(), a.Hangup(ctx))
		}
	}()
	log.Fatal(a.Run(ctx))
}
