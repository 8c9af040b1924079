package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/mosquittotest"
	"github.com/boothwire/boothwire/internal/testca"
)

func TestServerCertificate(t *testing.T) {
	own := testca.New(t, t.TempDir())
	expired, expiredKey := own.Server("expired", []string{"127.0.0.1"}, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Minute), time.Now().Add(-time.Minute)
	})
	good := mosquittotest.Start(t, mosquittotest.Options{TLS: true, WebSocketTLS: true})
	old := mosquittotest.Start(t, mosquittotest.Options{TLS: true, ServerCert: expired, ServerKey: expiredKey})

	for _, tt := range []struct {
		name   string
		url    string
		roots  *x509.CertPool
		server string
		dated  bool
		refuse bool
	}{
		{name: "good", url: good.TLSURL(), roots: good.CA.Pool()},
		{name: "wrong authority", url: good.TLSURL(), roots: own.Pool(), refuse: true},
		{name: "wrong authority, websocket", url: good.WebSocketTLSURL(), roots: own.Pool(), refuse: true},
		{name: "wrong name", url: good.TLSURL(), roots: good.CA.Pool(), server: "other.example", refuse: true},
		{name: "no authority", url: good.TLSURL(), refuse: true},
		{name: "expired", url: old.TLSURL(), roots: own.Pool(), dated: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var n notices
			c, _ := listen(t, "k1", tt.url, quick(func(c *Config) {
				c.TLS = &tls.Config{RootCAs: tt.roots, ServerName: tt.server}
				c.Observe = n.observe
			}))
			if tt.refuse {
				c.await(t, "refusals", func() bool { return c.downs >= 3 })
				if c.ups > 0 {
					t.Error("connected")
				}
			} else {
				c.awaitUp(t)
			}
			if dated := n.count("certificate_dates") > 0; dated != tt.dated {
				t.Errorf("dates reported: %v, want %v", dated, tt.dated)
			}
		})
	}
}

// A client's certificate is its name at the broker, and the broker's rules go by it.
func TestClientCertificateAndRules(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{TLS: true, ClientCertificates: true, ACL: mosquittotest.FleetACL})
	as := func(name string) *Config {
		return quick(func(c *Config) {
			c.TLS = &tls.Config{RootCAs: b.CA.Pool(), Certificates: []tls.Certificate{b.CA.Pair(b.CA.Client(name))}}
		})
	}
	exchange(t, b.TLSURL(), as("k1"), as("control"))

	t.Run("another device", func(t *testing.T) {
		cfg := as("k1")
		cfg.ClientID = "spy"
		fleet, s := read(t, b.TLSURL(), as("control"))
		send(t, s, "nobody", "{}")
		spy, l := listen(t, "k2", b.TLSURL(), cfg) // k1's certificate
		spy.awaitUp(t)                             // Mosquitto acknowledges a forbidden filter, and delivers nothing
		l.Publish([]byte(`{"vpn":"failed"}`), true)
		k2, l2 := listen(t, "k2", b.TLSURL(), as("k2"))
		k2.awaitUp(t)
		send(t, s, "k2", `{"action":"vpn_up"}`)
		k2.awaitMessage(t, `{"action":"vpn_up"}`)
		l2.Publish([]byte(`{"vpn":"connected"}`), true)
		fleet.awaitMessage(t, `{"vpn":"connected"}`)
		spy.mu.Lock()
		defer spy.mu.Unlock()
		fleet.mu.Lock()
		defer fleet.mu.Unlock()
		if len(spy.got) > 0 {
			t.Errorf("k1 reads what is for k2: %s", spy.got[0].Payload)
		}
		for _, m := range fleet.got {
			if m.Device == "k2" && string(m.Payload) == `{"vpn":"failed"}` {
				t.Error("k1 writes for k2")
			}
		}
	})
	t.Run("none", func(t *testing.T) {
		c, _ := listen(t, "k3", b.TLSURL(), quick(func(c *Config) { c.TLS = &tls.Config{RootCAs: b.CA.Pool()} }))
		c.await(t, "refusals", func() bool { return c.downs >= 2 })
		if c.ups > 0 {
			t.Error("connected without a certificate")
		}
	})
}

func TestPassword(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{
		Users: map[string]string{"k1": "one", "control": "two"}, ACL: mosquittotest.FleetACL,
	})
	as := func(name, password string) *Config {
		return quick(func(c *Config) { c.Username, c.Password = name, password })
	}
	exchange(t, b.URL(), as("k1", "one"), as("control", "two"))

	var n notices
	cfg := as("k1", "wrong")
	cfg.Observe = n.observe
	_, l := listen(t, "k1", b.URL(), cfg)
	await(t, "notice", func() bool { return n.count("not_authorised") == 1 })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line.mu.Lock()
	defer l.line.mu.Unlock()
	if l.line.back.why != causeNotAuthorised {
		t.Error("a wrong password is tried again soon")
	}
}
