package https_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log"
	"net/http"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling/https"
)

// A server for devices: the queue says which there are, the Sender serves them.
func ExampleNewSender() {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	queue := https.NewQueue()
	if err := queue.Register("kiosk-7", keys.IdentityKey(public)); err != nil { // as the device prints it
		log.Fatal(err)
	}
	sender := https.NewSender(queue, nil)
	defer sender.Close()

	mux := http.NewServeMux()
	mux.Handle("/device/", sender)
	server := https.Server(mux)
	server.Addr = ":443" // then ListenAndServeTLS
	defer server.Close()

	err = sender.Send(context.Background(), "kiosk-7", []byte(`{"action":"vpn_up","server":"wg-bj-01"}`))
	fmt.Println(err)
	// Output: <nil>
}
