package sysproxy

import (
	"net/http"
	"net/url"
	"sync"

	"github.com/mattn/go-ieproxy"
)

var reading sync.Mutex // ieproxy writes what it has read to a variable of its own

// system reads the settings anew: they may have changed since the last call.
var system = func(r *http.Request) (*url.URL, error) {
	reading.Lock()
	ieproxy.ReloadConf()
	find := ieproxy.GetProxyFunc()
	reading.Unlock()
	return find(r)
}
