package mqtt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/boothwire/boothwire/internal/lenienttls"
	"golang.org/x/net/proxy"
)

type proxyFunc = func(*http.Request) (*url.URL, error)

// maxConnect is how long a proxy's answer to CONNECT may be.
const maxConnect = 16 << 10

// dialProxy returns a stream to address that the proxy carries. Names are
// resolved by the proxy. No error holds the proxy's credentials.
func dialProxy(ctx context.Context, through *url.URL, address string) (net.Conn, error) {
	switch through.Scheme {
	case "http", "https":
		c, err := dialConnect(ctx, through, address)
		if err != nil {
			return nil, fmt.Errorf("mqtt: proxy %s: %w", through.Host, err)
		}
		return c, nil
	case "socks5", "socks5h":
		var auth *proxy.Auth
		if u := through.User; u != nil {
			password, _ := u.Password()
			auth = &proxy.Auth{User: u.Username(), Password: password}
		}
		d, err := proxy.SOCKS5("tcp", withPort(through, "1080"), auth, &net.Dialer{})
		if err != nil {
			return nil, fmt.Errorf("mqtt: proxy %s: %w", through.Host, err)
		}
		c, err := d.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("mqtt: proxy %s: %w", through.Host, err)
		}
		return c, nil
	}
	return nil, fmt.Errorf("mqtt: proxy scheme %q is none of http, https, socks5", through.Scheme)
}

// dialConnect asks an HTTP proxy for a tunnel (RFC 9110, section 9.3.6).
func dialConnect(ctx context.Context, through *url.URL, address string) (net.Conn, error) {
	port := "80"
	if through.Scheme == "https" {
		port = "443"
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", withPort(through, port))
	if err != nil {
		return nil, err
	}
	if through.Scheme == "https" {
		c = tls.Client(c, lenienttls.Config(&tls.Config{ServerName: through.Hostname()}, nil))
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err = connect(c, through.User, address)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func connect(c net.Conn, user *url.Userinfo, address string) error {
	var req bytes.Buffer
	fmt.Fprintf(&req, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", address, address)
	if user != nil {
		password, _ := user.Password()
		word := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		fmt.Fprintf(&req, "Proxy-Authorization: Basic %s\r\n", word)
	}
	req.WriteString("\r\n")
	if _, err := c.Write(req.Bytes()); err != nil {
		return err
	}
	head, err := readHead(c)
	if err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("refuses: %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	}
	return nil
}

// readHead reads up to the empty line and not a byte further: what follows
// belongs to the tunnel.
func readHead(c net.Conn) ([]byte, error) {
	head := make([]byte, 0, 512)
	for one := make([]byte, 1); len(head) < maxConnect; {
		if _, err := c.Read(one); err != nil {
			return nil, err
		}
		if head = append(head, one[0]); bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			return head, nil
		}
	}
	return nil, errors.New("answer is too long")
}

func withPort(u *url.URL, usual string) string {
	port := u.Port()
	if port == "" {
		port = usual
	}
	return net.JoinHostPort(u.Hostname(), port)
}
