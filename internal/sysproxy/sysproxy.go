// Package sysproxy says through which HTTP proxy this system wants a server to be
// reached.
package sysproxy

import (
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"
)

// patience bounds how long a system may think: a script may have to be fetched, and a
// network searched for one. Without an answer no proxy is used.
const patience = 5 * time.Second

// For returns the proxy for a request, nil for none: what the environment says
// ([http.ProxyFromEnvironment]), or, where it names no proxy at all, the settings of
// the user or of the machine on Windows, with their script where one is set. It may
// be called from many goroutines, and returns at the latest with the request's
// context or after 5 s.
func For(r *http.Request) (*url.URL, error) {
	proxy, err := http.ProxyFromEnvironment(r)
	if proxy != nil || err != nil || system == nil || inEnvironment() || local(r.URL.Hostname()) {
		return proxy, err
	}
	return asks.ask(r, system, patience)
}

// inEnvironment reports whether the environment names a proxy: then it is also what
// excepts servers from it.
func inEnvironment() bool {
	return slices.ContainsFunc([]string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"}, func(name string) bool { return os.Getenv(name) != "" })
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// An asking asks a system, which may block: once at a time for a server.
type asking struct{ one singleflight.Group }

var asks asking

func (a *asking) ask(r *http.Request, system func(*http.Request) (*url.URL, error), patience time.Duration) (*url.URL, error) {
	got := a.one.DoChan(r.URL.Scheme+"://"+r.URL.Host, func() (any, error) { return system(r) })
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case g := <-got:
		proxy, _ := g.Val.(*url.URL)
		if g.Err != nil || proxy == nil || proxy.Host == "" {
			return nil, g.Err
		}
		own := *proxy // others may get the same one
		if own.Scheme == "" {
			own.Scheme = "http"
		}
		return &own, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-late.C:
		return nil, nil
	}
}
