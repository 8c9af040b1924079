package agent

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// rdpPatience bounds how long a server on this machine may take.
const rdpPatience = 5 * time.Second

// Bytes of [MS-RDPBCGR] 2.2.1: a client that can do TLS and NLA asks, and a server that
// has chosen one of them answers with as many.
var (
	rdpAsks    = []byte{3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 3, 0, 0, 0}
	rdpAnswers = len(rdpAsks)
)

// RDPCertificate asks an RDP server for its certificate and returns the SHA-256 of it,
// for [keys.Device.Fingerprints]. What a host signs it has to know for its own: the
// address is one of this machine's, such as 127.0.0.1:3389. Windows renews the
// certificate that it made itself, so ask again now and then.
func RDPCertificate(ctx context.Context, address string) (sum [sha256.Size]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, rdpPatience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return sum, fmt.Errorf("agent: ask for the RDP certificate: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	answer := make([]byte, rdpAnswers)
	if _, err = conn.Write(rdpAsks); err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	switch {
	case err != nil:
		return sum, fmt.Errorf("agent: ask for the RDP certificate: %w", err)
	case answer[0] != 3 || answer[5] != 0xd0 || answer[11] != 2:
		return sum, errors.New("agent: ask for the RDP certificate: the server does not offer TLS")
	}
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // it is what is asked for
	if err := c.HandshakeContext(ctx); err != nil {
		return sum, fmt.Errorf("agent: ask for the RDP certificate: %w", err)
	}
	return sha256.Sum256(c.ConnectionState().PeerCertificates[0].Raw), nil
}
