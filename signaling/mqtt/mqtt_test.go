package mqtt

import (
	"crypto/tls"
	"testing"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/internal/mosquittotest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// exchange carries a command down and two statuses up.
func exchange(t *testing.T, url string, device, control *Config) {
	t.Helper()
	fleet, s := read(t, url, control)
	send(t, s, "nobody", "{}") // the line is up: what follows is not lost
	kiosk, l := listen(t, "k1", url, device)
	kiosk.awaitUp(t)
	l.Publish([]byte(`{"vpn":"disconnected"}`), true)
	fleet.awaitMessage(t, `{"vpn":"disconnected"}`)
	send(t, s, "k1", `{"action":"vpn_up"}`)
	kiosk.awaitMessage(t, `{"action":"vpn_up"}`)
	l.Publish([]byte(`{"vpn":"connecting"}`), false)
	fleet.awaitMessage(t, `{"vpn":"connecting"}`)
}

func TestExchange(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{TLS: true, WebSocket: true, WebSocketTLS: true})
	roots := func(c *Config) { c.TLS = &tls.Config{RootCAs: b.CA.Pool()} }
	for _, tt := range []struct{ name, url string }{
		{"tcp", b.URL()}, {"tls", b.TLSURL()}, {"websocket", b.WebSocketURL()}, {"websocket over tls", b.WebSocketTLSURL()},
	} {
		t.Run(tt.name, func(t *testing.T) { exchange(t, tt.url, quick(roots), quick(roots)) })
	}
}
