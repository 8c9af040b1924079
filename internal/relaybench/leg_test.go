//go:build linux

package relaybench

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	hostname   = "relay.test" // in the certificate of either server
	packetSize = 1300
	readSize   = 64 << 10
)

// A leg is a client's connection to either server: TLS made in the same way, frames of
// its protocol, read through the same buffer.
type leg struct {
	net.Conn
	head []byte // before each packet that it sends
	rest []byte // read ahead
	// next takes the first frame of b and says how long it is, 0 while it is not whole;
	// packet is nil where it is none.
	next func(b []byte) (packet []byte, n int, err error)
}

// connect makes TLS and asks for an upgrade with the given lines of HTTP.
func connect(ctx context.Context, pool *x509.CertPool, addr, lines string) (l *leg, h http.Header, err error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	c := tls.Client(raw, &tls.Config{
		RootCAs: pool, ServerName: hostname, MinVersion: tls.VersionTLS13,
		NextProtos: []string{"http/1.1"}, DynamicRecordSizingDisabled: true,
	})
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	if _, err = io.WriteString(c, lines+"\r\n"); err != nil {
		raw.Close()
		return nil, nil, err
	}
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("the server answers %s", resp.Status)
	}
	if err != nil {
		raw.Close()
		return nil, nil, err
	}
	l = &leg{Conn: c, rest: make([]byte, br.Buffered())}
	_, err = io.ReadFull(br, l.rest)
	return l, resp.Header, err
}

// receive reads until the connection ends; after is called when all packets of a read
// have been seen.
func (l *leg) receive(each func(packet []byte), after func()) error {
	buf := make([]byte, readSize)
	n := copy(buf, l.rest)
	for {
		used := 0
		for {
			packet, size, err := l.next(buf[used:n])
			if err != nil {
				return err
			}
			if size == 0 {
				break
			}
			if packet != nil {
				each(packet)
			}
			used += size
		}
		after()
		n = copy(buf, buf[used:n])
		if n == len(buf) {
			return errors.New("a frame that is too long")
		}
		m, err := l.Read(buf[n:])
		if err != nil {
			return err
		}
		n += m
	}
}

// frame reads one whole frame, for the login.
func (l *leg) frame(whole func(b []byte) int) ([]byte, error) {
	_ = l.SetReadDeadline(time.Now().Add(patience))
	defer l.SetReadDeadline(time.Time{})
	for {
		if n := whole(l.rest); n > 0 {
			f := l.rest[:n]
			l.rest = l.rest[n:]
			return f, nil
		}
		var b [4 << 10]byte
		n, err := l.Read(b[:])
		if err != nil {
			return nil, err
		}
		l.rest = append(l.rest, b[:n]...)
	}
}

// A batch is frames for one Write.
type batch struct {
	b  []byte
	at []int // where the packets begin
}

func (l *leg) batch(n int) *batch {
	k := new(batch)
	for range n {
		k.b = append(k.b, l.head...)
		k.at = append(k.at, len(k.b))
		k.b = append(k.b, make([]byte, packetSize)...)
	}
	return k
}

func readPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in " + file)
	}
	return pool, nil
}
