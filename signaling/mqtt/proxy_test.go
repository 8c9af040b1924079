package mqtt

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/mosquittotest"
)

// A connectProxy is an HTTP proxy that knows CONNECT and one user.
type connectProxy struct {
	url  *url.URL
	used atomic.Int32
}

func startProxy(t *testing.T) *connectProxy {
	t.Helper()
	p := &connectProxy{}
	raw := startRaw(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil || req.Method != http.MethodConnect {
			return
		}
		if req.Header.Get("Proxy-Authorization") != "Basic a2lvc2s6c2VjcmV0" { // kiosk:secret
			io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
			return
		}
		up, err := net.Dial("tcp", req.RequestURI)
		if err != nil {
			io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
			return
		}
		p.used.Add(1)
		io.WriteString(c, "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
		splice(c, up, r)
	})
	p.url = &url.URL{Scheme: "http", Host: strings.TrimPrefix(raw.url, "mqtt://"), User: url.UserPassword("kiosk", "secret")}
	return p
}

// splice carries bytes both ways until one side ends.
func splice(c, up net.Conn, from io.Reader) {
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(up, from); up.Close(); c.Close() })
	wg.Go(func() { io.Copy(c, up); up.Close(); c.Close() })
	wg.Wait()
}

func TestConnectProxy(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{TLS: true, WebSocketTLS: true})
	p := startProxy(t)
	var asked atomic.Value
	through := quick(func(c *Config) {
		c.TLS = &tls.Config{RootCAs: b.CA.Pool()}
		c.Proxy = func(r *http.Request) (*url.URL, error) {
			asked.Store(r.URL.String())
			return p.url, nil
		}
	})
	for name, to := range map[string]string{"tls": b.TLSURL(), "websocket over tls": b.WebSocketTLSURL(), "tcp": b.URL()} {
		t.Run(name, func(t *testing.T) { // whose end is its lines' end: two of one device take each other's place
			used := p.used.Load()
			exchange(t, to, through, through)
			if p.used.Load() < used+2 {
				t.Errorf("%s: the proxy is not used", to)
			}
			scheme := map[bool]string{true: "https://", false: "http://"}[to != b.URL()]
			if got := asked.Load().(string); !strings.HasPrefix(got, scheme) {
				t.Errorf("%s: the proxy function is asked for %s", to, got)
			}
		})
	}
}

func TestProxyRefuses(t *testing.T) {
	p := startProxy(t)
	wrong := *p.url
	wrong.User = url.UserPassword("kiosk", "another-secret")
	long := startRaw(t, func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\n")
		for {
			if _, err := io.WriteString(c, "X: "+strings.Repeat("x", 4096)+"\r\n"); err != nil {
				return
			}
		}
	})
	silent := startRaw(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	at := func(raw *rawBroker, scheme string) *url.URL {
		return &url.URL{Scheme: scheme, Host: strings.TrimPrefix(raw.url, "mqtt://"), User: url.UserPassword("kiosk", "another-secret")}
	}
	for name, through := range map[string]*url.URL{
		"wrong password":    &wrong,
		"endless answer":    at(long, "http"),
		"silent":            at(silent, "http"),
		"silent, TLS":       at(silent, "https"),
		"silent, SOCKS":     at(silent, "socks5"),
		"unknown scheme":    at(silent, "ftp"),
		"unreachable":       {Scheme: "http", Host: "127.0.0.1:1"},
		"unreachable SOCKS": {Scheme: "socks5", Host: "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patienceOf(name))
			defer cancel()
			c, err := dialProxy(ctx, through, "127.0.0.1:1883")
			if err == nil {
				c.Close()
				t.Fatal("connected")
			}
			if name == "endless answer" && !strings.Contains(err.Error(), "too long") {
				t.Errorf("read on: %v", err)
			}
			if strings.Contains(err.Error(), "another-secret") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

// patienceOf is short for what never answers.
func patienceOf(name string) time.Duration {
	if strings.HasPrefix(name, "silent") {
		return 300 * time.Millisecond
	}
	return 20 * time.Second
}

// What the proxy sends right behind its answer belongs to the tunnel.
func TestProxyAnswerEndsAtTheEmptyLine(t *testing.T) {
	raw := startRaw(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
		io.Copy(io.Discard, c)
	})
	c, err := dialProxy(t.Context(), &url.URL{Scheme: "http", Host: strings.TrimPrefix(raw.url, "mqtt://")}, "broker.example:8883")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSOCKS(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	var used atomic.Int32
	raw := startRaw(t, func(c net.Conn) { // RFC 1928 and RFC 1929, as far as a client of ours goes
		head := make([]byte, 2)
		io.ReadFull(c, head)
		io.ReadFull(c, make([]byte, head[1]))
		c.Write([]byte{5, 2})
		login := make([]byte, 2+len("kiosk")+1+len("secret"))
		io.ReadFull(c, login)
		if string(login) != "\x01\x05kiosk\x06secret" {
			c.Write([]byte{1, 1})
			return
		}
		c.Write([]byte{1, 0})
		req := make([]byte, 10) // version, connect, 0, IPv4, address, port
		io.ReadFull(c, req)
		up, err := net.Dial("tcp", b.Addr())
		if err != nil {
			return
		}
		used.Add(1)
		c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		splice(c, up, c)
	})
	through := quick(func(c *Config) {
		c.Proxy = http.ProxyURL(&url.URL{Scheme: "socks5", Host: strings.TrimPrefix(raw.url, "mqtt://"), User: url.UserPassword("kiosk", "secret")})
	})
	exchange(t, b.URL(), through, through)
	if used.Load() < 2 {
		t.Error("the proxy is not used")
	}
}

// A server that answers the upgrade without end, or without the subprotocol, is
// left soon.
func TestUpgradeRefuses(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"endless": func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n")
			line := []byte("X: " + strings.Repeat("x", 4096) + "\r\n") // once: only the dialer is to allocate
			for {
				if _, err := c.Write(line); err != nil {
					return
				}
			}
		},
		"not found": func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
		},
		"silent": func(c net.Conn) { io.Copy(io.Discard, c) },
	} {
		t.Run(name, func(t *testing.T) {
			raw := startRaw(t, serve)
			to, err := parseEndpoint(strings.Replace(raw.url, "mqtt:", "ws:", 1), false)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			before := allocated()
			d := &dialer{to: to, proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}
			if c, err := d.dial(ctx); err == nil {
				c.Close()
				t.Error("connected")
			}
			if grew := allocated() - before; grew > 8<<20 {
				t.Errorf("allocated %d MiB", grew>>20)
			}
		})
	}
}
