package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// connect asks an HTTP proxy for a connection to target (RFC 9110, 9.3.6).
func connect(ctx context.Context, proxy *url.URL, target string) (net.Conn, error) {
	port := proxy.Port()
	switch {
	case proxy.Scheme != "http" && proxy.Scheme != "https":
		return nil, &Error{Reason: "proxy", Err: fmt.Errorf("a proxy of the kind %q: only http and https are", proxy.Scheme)}
	case port == "" && proxy.Scheme == "http":
		port = "80"
	case port == "":
		port = "443"
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), port))
	if err != nil {
		return nil, &Error{Reason: "proxy", Err: err}
	}
	if proxy.Scheme == "https" {
		t := tls.Client(c, &tls.Config{ServerName: proxy.Hostname(), MinVersion: tls.VersionTLS12})
		if err := t.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, &Error{Reason: "proxy", Err: err}
		}
		c = t
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err = ask(c, proxy.User, target)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.Close()
		return nil, &Error{Reason: "proxy", Err: err}
	}
	return c, nil
}

func ask(c net.Conn, user *url.Userinfo, target string) error {
	req := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	if user != nil {
		password, _ := user.Password()
		req += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)) + "\r\n"
	}
	if _, err := io.WriteString(c, req+"\r\n"); err != nil {
		return err
	}
	// The relay says nothing before this end does: nothing is read ahead.
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(c, 16<<10)), &http.Request{Method: http.MethodConnect})
	switch {
	case err != nil:
		if text := shown(err.Error()); text != err.Error() {
			err = errors.New(text)
		}
		return fmt.Errorf("its answer: %w", err)
	case resp.StatusCode == http.StatusProxyAuthRequired:
		return fmt.Errorf("it wants a user and password by %q, and takes none or not those that it was given", shown(resp.Header.Get("Proxy-Authenticate")))
	case resp.StatusCode/100 != 2:
		return errors.New("it answers " + shown(resp.Status))
	}
	return nil
}

// shownMost is how much of a proxy's words an error shows, in bytes.
const shownMost = 200

// shown makes text of a stranger fit for an error, which a terminal may print.
func shown(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text[:min(len(text), shownMost)])
	return text[:min(len(text), shownMost)]
}
