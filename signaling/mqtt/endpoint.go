package mqtt

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
)

// An endpoint is a broker's URL, taken apart and found acceptable.
type endpoint struct {
	url       *url.URL
	host      string // without port
	address   string // host:port
	tls       bool
	websocket bool
}

func parseEndpoint(text string, insecure bool) (*endpoint, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("mqtt: malformed URL") // the error would quote it, with what it holds
	}
	if u.User != nil {
		return nil, errors.New("mqtt: credentials belong in Config, not in the URL")
	}
	e := &endpoint{url: u, host: u.Hostname()}
	port := u.Port()
	var usual string
	switch u.Scheme {
	case "mqtts":
		e.tls, usual = true, "8883"
	case "mqtt":
		usual = "1883"
	case "wss":
		e.tls, e.websocket, usual = true, true, "443"
	case "ws":
		e.websocket, usual = true, "80"
	default:
		return nil, fmt.Errorf("mqtt: scheme %q is none of mqtts, wss, mqtt, ws", u.Scheme)
	}
	if e.host == "" {
		return nil, errors.New("mqtt: URL without a host")
	}
	if !e.tls && !insecure && !loopback(e.host) {
		return nil, fmt.Errorf("mqtt: %s to another host is not encrypted; use %ss", u.Scheme, u.Scheme)
	}
	if port == "" {
		port = usual
	}
	e.address = net.JoinHostPort(e.host, port)
	if e.websocket && u.Path == "" {
		u.Path = "/mqtt"
	}
	return e, nil
}

// request is what a proxy function is asked about.
func (e *endpoint) request() *http.Request {
	scheme := "http"
	if e.tls {
		scheme = "https"
	}
	u := &url.URL{Scheme: scheme, Host: e.address}
	return &http.Request{Method: http.MethodConnect, URL: u, Host: e.address, Header: http.Header{}}
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}
