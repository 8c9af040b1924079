package console

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/login"
)

// What a page may load. The terminal makes styles as it goes; the engines of Desktop
// compile WebAssembly, too. Only their pages may.
const (
	policyStrict = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
		"font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	policyTerminal = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
		"font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	policyEngine = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; " +
		"font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

// guard is around everything: headers, requests that another site's page made, and
// connections that others could hear.
func (c *Console) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, "cross_origin", "the request comes from a page of another site")
	}))
	inner := cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policyStrict)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		if !login.Private(r) {
			refuse(w, http.StatusForbidden, "insecure", "the console speaks HTTPS, and plain HTTP on its own machine only")
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// SameOrigin reports whether a page of this console made a request. A WebSocket needs
// it: no browser leaves Origin out there.
func SameOrigin(r *http.Request) bool {
	scheme := "https://"
	if login.Plain(r) {
		scheme = "http://"
	}
	return strings.EqualFold(r.Header.Get("Origin"), scheme+r.Host)
}

// refuse answers with a problem document, as control does.
func refuse(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(&client.Error{Status: status, Code: code, Title: http.StatusText(status), Detail: detail})
}
