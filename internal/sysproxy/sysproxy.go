// Package sysproxy says through which HTTP proxy this system wants a server to be
// reached.
package sysproxy

import (
	"net/http"
	"net/url"
	"time"
)

// patience bounds how long a system may think: a script may have to be fetched, and a
// network searched for one. Without an answer no proxy is used.
const patience = 5 * time.Second

// For returns the proxy for a request, nil for none: what the environment says
// ([http.ProxyFromEnvironment]), or else, on Windows, the settings of the user or of
// the machine, with their script where one is set. It may be called from many
// goroutines, and returns at the latest with the request's context or after 5 s.
func For(r *http.Request) (*url.URL, error) {
	if proxy, err := http.ProxyFromEnvironment(r); proxy != nil || err != nil {
		return proxy, err
	}
	if system == nil {
		return nil, nil
	}
	return ask(r, system, patience)
}

// ask asks a system, which may block.
func ask(r *http.Request, system func(*http.Request) (*url.URL, error), patience time.Duration) (*url.URL, error) {
	type answer struct {
		proxy *url.URL
		err   error
	}
	got := make(chan answer, 1)
	go func() {
		proxy, err := system(r)
		got <- answer{proxy, err}
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case a := <-got:
		if a.err != nil || a.proxy == nil || a.proxy.Host == "" {
			return nil, a.err
		}
		if a.proxy.Scheme == "" {
			a.proxy.Scheme = "http"
		}
		return a.proxy, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-late.C:
		return nil, nil
	}
}
