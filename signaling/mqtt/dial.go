package mqtt

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// A dialer makes connections to one endpoint.
type dialer struct {
	to    *endpoint
	tls   *tls.Config // for to; ready for use
	proxy proxyFunc
}

// dial connects through TCP, proxy, TLS and WebSocket, whichever of them the
// endpoint needs, and gives up after dialTimeout: the client library sets no
// timeout for it.
func (d *dialer) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := d.reach(ctx)
	if err != nil {
		return nil, err
	}
	if d.to.tls {
		t := tls.Client(c, d.tls)
		if err := t.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, fmt.Errorf("mqtt: TLS with %s: %w", d.to.address, err)
		}
		c = t
	}
	if d.to.websocket {
		if c, err = upgrade(ctx, c, d.to); err != nil {
			return nil, err
		}
	}
	return newConn(c), nil
}

// reach returns a stream to the broker's TCP port.
func (d *dialer) reach(ctx context.Context) (net.Conn, error) {
	through, err := d.proxy(d.to.request().WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("mqtt: proxy: %w", err)
	}
	if through != nil {
		return dialProxy(ctx, through, d.to.address)
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.to.address)
	if err != nil {
		return nil, fmt.Errorf("mqtt: %w", err)
	}
	return c, nil
}

// tlsFor completes what the caller gave for one endpoint.
func tlsFor(base *tls.Config, e *endpoint) *tls.Config {
	cfg := &tls.Config{}
	if base != nil {
		cfg = base.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = e.host
	}
	if cfg.ClientSessionCache == nil {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	switch {
	case e.websocket:
		cfg.NextProtos = []string{"http/1.1"}
	case cfg.NextProtos == nil && e.url.Port() == "443":
		cfg.NextProtos = []string{"mqtt"} // several services share that port
	}
	return cfg
}
