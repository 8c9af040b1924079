package netlab

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// proxy serves HTTP CONNECT to port 443 on the host, which is all that those of
// shops let through, for whoever knows the password, and returns its address.
func (h *Host) proxy(at netip.Addr, user, password string) string {
	h.lab.t.Helper()
	var ln net.Listener
	addr := netip.AddrPortFrom(at, 3128).String()
	if err := h.Do(func() (err error) { ln, err = net.Listen("tcp", addr); return }); err != nil {
		h.lab.t.Fatal(err)
	}
	h.note += ", HTTP proxy on " + addr
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// net/http has a name for this only in the other direction.
		asked := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
		if u, p, ok := asked.BasicAuth(); !ok || u != user || p != password {
			w.Header().Set("Proxy-Authenticate", `Basic realm="shop"`)
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		if _, port, _ := net.SplitHostPort(r.Host); port != "443" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		h.tunnel(w, r.Host)
	})}
	go srv.Serve(ln)
	h.lab.t.Cleanup(func() { srv.Close() })
	return addr
}

// tunnel joins a CONNECT's client to where it wants to go.
func (h *Host) tunnel(w http.ResponseWriter, to string) {
	var out net.Conn
	if err := h.Do(func() (err error) { out, err = net.DialTimeout("tcp", to, 5*time.Second); return }); err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	in, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		out.Close()
		return
	}
	io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n")
	go join(out, rw)
	join(in, out)
}

// join passes on what comes until its end, and the end too.
func join(to net.Conn, from io.Reader) {
	io.Copy(to, from)
	to.Close()
}
