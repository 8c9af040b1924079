package https

import (
	"crypto/tls"
	"net/http"
	"time"
)

// Server is an http.Server with limits for devices: HTTP/1.1 only (a parked HTTP/2
// connection costs several times as much), TLS 1.2 or later, short headers, and no
// deadline on a response. The caller sets address, certificate and logs, and serves.
func Server(h http.Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:   h,
		Protocols: &protocols,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		// Also what a device may take between a parked poll's answer and its next request.
		ReadHeaderTimeout: 15 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    8 << 10,
	}
}
