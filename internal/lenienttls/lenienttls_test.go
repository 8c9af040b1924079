package lenienttls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/testca"
)

// handshake connects a client with cfg to a server with cert.
func handshake(t *testing.T, cfg *tls.Config, cert tls.Certificate) error {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		server, err := ln.Accept()
		if err != nil {
			return
		}
		defer server.Close()
		s := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}})
		if s.Handshake() == nil {
			s.Read(make([]byte, 1))
		}
	}()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(client, cfg)
	err = c.Handshake()
	client.Close()
	<-done
	return err
}

func dates(from, to time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to)
	}
}

func TestConfig(t *testing.T) {
	const day = 24 * time.Hour
	ca, stranger := testca.New(t, t.TempDir()), testca.New(t, t.TempDir())
	pair := func(ca *testca.CA, name string, change ...func(*x509.Certificate)) tls.Certificate {
		return ca.Pair(ca.Server(name, []string{name, "127.0.0.1"}, change...))
	}
	client := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	good := pair(ca, "a.example")
	for _, tt := range []struct {
		name   string
		server string
		cert   tls.Certificate
		clock  time.Duration
		dated  bool
		refuse bool
	}{
		{name: "valid", server: "a.example", cert: good},
		{name: "by address", server: "127.0.0.1", cert: good},
		{name: "other address", server: "127.0.0.2", cert: good, refuse: true},
		{name: "other name", server: "b.example", cert: good, refuse: true},
		{name: "no name", cert: good, refuse: true},
		{name: "other authority", server: "a.example", cert: pair(stranger, "a.example"), refuse: true},
		{name: "expired", server: "a.example", cert: pair(ca, "a.example", dates(-2*time.Minute, -time.Minute)), dated: true},
		{name: "not yet", server: "a.example", cert: pair(ca, "a.example", dates(time.Hour, 2*time.Hour)), dated: true},
		{name: "clock ahead", server: "a.example", cert: good, clock: 40 * 365 * day, dated: true},
		{name: "expired, other authority", server: "a.example", cert: pair(stranger, "a.example", dates(-2*day, -day)), refuse: true},
		{name: "expired, other name", server: "b.example", cert: pair(ca, "a.example", dates(-2*time.Minute, -time.Minute)), refuse: true},
		{name: "never within its authority's dates", server: "a.example", cert: pair(ca, "a.example", dates(-90*day, -80*day)), refuse: true},
		{name: "for clients", server: "a.example", cert: pair(ca, "a.example", client), refuse: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var dated []error
			chained := false
			cfg := Config(&tls.Config{
				RootCAs: ca.Pool(), ServerName: tt.server,
				Time: func() time.Time { return time.Now().Add(tt.clock) },
				VerifyConnection: func(cs tls.ConnectionState) error {
					chained = len(cs.VerifiedChains) > 0
					return nil
				},
			}, func(err error) { dated = append(dated, err) })
			err := handshake(t, cfg, tt.cert)
			if (err != nil) != tt.refuse {
				t.Errorf("error %v, want refused %v", err, tt.refuse)
			}
			if (len(dated) == 1) != tt.dated || len(dated) > 1 {
				t.Errorf("dates reported %v, want %v", dated, tt.dated)
			}
			if chained == tt.refuse {
				t.Errorf("own check saw chains: %v, want %v", chained, !tt.refuse)
			}
		})
	}
}

// A clock that was reset to 1970 is not the present: the build is later.
func TestClockBeforeBuild(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if got := later(time.Unix(0, 0), now); !got.Equal(now) {
		t.Errorf("later: %v, want %v", got, now)
	}
	if got := later(now, time.Time{}); !got.Equal(now) {
		t.Errorf("later: %v, want %v", got, now)
	}
}

func TestOwnCheckRefuses(t *testing.T) {
	ca := testca.New(t, t.TempDir())
	want := errors.New("not pinned")
	cfg := Config(&tls.Config{RootCAs: ca.Pool(), ServerName: "a.example",
		VerifyConnection: func(tls.ConnectionState) error { return want }}, nil)
	if err := handshake(t, cfg, ca.Pair(ca.Server("a", []string{"a.example"}))); !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}
