package agent

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/testca"
)

func TestRDPCertificate(t *testing.T) {
	ca := testca.New(t, t.TempDir())
	cert := ca.Pair(ca.Server("kiosk", []string{"kiosk"}))
	confirm := []byte{3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, 2, 0, 8, 0, 2, 0, 0, 0}
	refusal := []byte{3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, 3, 0, 8, 0, 5, 0, 0, 0}
	for name, c := range map[string]struct {
		answer []byte
		tls    bool
		ok     bool
	}{
		"NLA":       {confirm, true, true},
		"a refusal": {refusal, false, false},
		"SSH":       {[]byte("SSH-2.0-OpenSSH_9.2p1\r\n"), false, false},
		"no TLS":    {append(confirm[:19:19], "nonsense, and more"...), false, false},
		"silence":   {nil, false, false},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			io.ReadFull(conn, make([]byte, len(rdpAsks)))
			conn.Write(c.answer)
			if c.tls {
				tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
			}
			io.Copy(io.Discard, conn)
		}()
		ctx, cancel := context.WithCancel(t.Context())
		if c.answer == nil {
			time.AfterFunc(10*time.Millisecond, cancel)
		}
		sum, err := RDPCertificate(ctx, ln.Addr().String())
		cancel()
		if (err == nil) != c.ok || c.ok && sum != sha256.Sum256(cert.Certificate[0]) {
			t.Errorf("%s: %x, %v", name, sum, err)
		}
		ln.Close()
		<-done
	}
	if _, err := RDPCertificate(t.Context(), "127.0.0.1:1"); err == nil {
		t.Error("nobody answered")
	}
}
