//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/nat"
	"github.com/boothwire/boothwire/relay"
)

// endEnv makes the test binary one end of a pair.
const endEnv = "BOOTHWIRE_E2E_END"

// An end is what one process of a pair does: it makes its leg at the relay, and by
// it exchanges the offers for a direct path. It says one report and stays until the
// end of its input.
type end struct {
	Key    string // WireGuard's
	Secret string // of the offers
	Relays []keys.Relay
	CA     string // file
	STUN   []string
	Proxy  string // URL
	Dials  bool   // the other end accepts
}

// An endReport is what an end came to.
type endReport struct {
	Relay, Direct time.Duration // from the start of the process
	Pair          string
	Err           string
}

func endMain(text string) error {
	start := time.Now()
	var e end
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var r endReport
	done, err := e.run(ctx, start, &r)
	if err != nil {
		r.Err = err.Error()
	}
	defer done()
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// run fills the report, and returns what ends the paths.
func (e *end) run(ctx context.Context, start time.Time, r *endReport) (done func(), err error) {
	done = func() {}
	key, err := keys.ParsePrivateKey(e.Key)
	if err != nil {
		return done, err
	}
	pem, err := os.ReadFile(e.CA)
	if err != nil {
		return done, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	leg, err := relay.Dial(ctx, e.Relays, key, &relay.Config{TLS: &tls.Config{RootCAs: pool}})
	if err != nil {
		return done, err
	}
	done = func() { leg.Close() }
	select {
	case <-leg.Paired():
	case <-ctx.Done():
		return done, errors.New("nobody came to the relay")
	}
	post := newPost(leg)
	if _, err := leg.Check(ctx); err != nil {
		return done, fmt.Errorf("check the relay: %w", err)
	}
	r.Relay = time.Since(start)

	sock, err := net.ListenUDP("udp", nil)
	if err != nil {
		return done, err
	}
	open := nat.Accept
	if e.Dials {
		open = nat.Dial
	}
	// Longer than nat takes to give up, so that only an Accept that hears of no
	// attempt runs into it.
	tries, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	c, err := open(tries, sock, post, []byte(e.Secret), &nat.Config{STUN: e.STUN})
	if errors.Is(err, nat.ErrNoPath) || tries.Err() != nil {
		r.Pair = err.Error()
		return done, nil
	}
	if err != nil {
		return done, err
	}
	done = func() { c.Close(); leg.Close() }
	if err := proved(ctx, c); err != nil {
		return done, fmt.Errorf("check the path %s: %w", c.Pair(), err)
	}
	r.Direct, r.Pair = time.Since(start), c.Pair().String()
	return done, nil
}

// proved waits for a round trip: one check may be lost.
func proved(ctx context.Context, c *nat.Conn) (err error) {
	for range 5 {
		if _, err = c.Check(ctx); err == nil {
			return nil
		}
	}
	return err
}

// A post exchanges offers by a leg at a relay, which carries packets.
type post struct {
	leg *relay.Conn
	in  chan []byte
}

func newPost(leg *relay.Conn) *post {
	p := &post{leg, make(chan []byte, 16)}
	go func() {
		for {
			buf := make([]byte, 4096)
			n, err := leg.Read(buf)
			if err != nil {
				return
			}
			select {
			case p.in <- buf[:n]:
			default: // as a packet
			}
		}
	}()
	return p
}

func (p *post) SendOffer(_ context.Context, sealed []byte) error {
	_, err := p.leg.Write(sealed)
	return err
}

func (p *post) ReceiveOffer(ctx context.Context) ([]byte, error) {
	select {
	case b := <-p.in:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
