//go:build !windows

package sysproxy

import (
	"net/http"
	"net/url"
)

// Elsewhere the environment is all that there is.
var system func(*http.Request) (*url.URL, error)
