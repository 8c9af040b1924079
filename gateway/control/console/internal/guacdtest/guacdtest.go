// Package guacdtest is a guacd for tests, written after the protocol's documentation:
// it joins one client at a time, connects to the RDP server that it is told, believes
// only a certificate that it is told, and then shows what the server sends, and sends
// what is typed, byte for byte. All that it draws is one colour.
package guacdtest

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// names are the arguments of guacd 1.5 that a console may want, among others.
var names = []string{
	"VERSION_1_5_0", "hostname", "port", "timeout", "domain", "username", "password", "width", "height", "dpi",
	"color-depth", "disable-audio", "server-layout", "security", "ignore-cert", "cert-tofu", "cert-fingerprints",
	"client-name", "enable-font-smoothing", "timezone", "enable-sftp", "sftp-hostname", "sftp-host-key", "sftp-port",
	"sftp-username", "sftp-password", "recording-path", "recording-name", "recording-include-keys", "create-recording-path",
	"resize-method", "read-only", "load-balance-info",
}

// A Client is who joined: what he said before, and what he has said since.
type Client struct {
	Arguments map[string]string
	Hello     map[string][]string // size, audio, video, image, timezone, name

	mu    sync.Mutex
	heard []string
	file  []byte
}

// File is what came of files that were sent.
func (c *Client) File() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.file)
}

// Heard are the opcodes that came since the desktop was joined.
func (c *Client) Heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.heard...)
}

// A Peer is a guacd.
type Peer struct {
	Address string
	Clients chan *Client // each that said what it wants

	t  testing.TB
	ln net.Listener
	// Without, Raw and Mute change how it behaves; set them before a client comes.
	Without string // a name that it leaves out of its arguments
	Raw     string // what it says in place of everything after ready
	Mute    bool   // it says nothing at all
}

// Start runs one on loopback until the test ends.
func Start(t testing.TB) *Peer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Peer{Address: ln.Addr().String(), Clients: make(chan *Client, 16), t: t, ln: ln}
	var work sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			work.Go(func() {
				defer c.Close()
				p.serve(c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		work.Wait()
	})
	return p
}

// serve is one client from select to its end.
func (p *Peer) serve(conn net.Conn) {
	if p.Mute {
		io.Copy(io.Discard, conn)
		return
	}
	in := bufio.NewReader(conn)
	if e, err := read(in); err != nil || len(e) != 2 || e[0] != "select" {
		return
	}
	args := []string{"args"}
	for _, n := range names {
		if n != p.Without {
			args = append(args, n)
		}
	}
	say(conn, args...)
	c := &Client{Arguments: make(map[string]string), Hello: make(map[string][]string)}
	for {
		e, err := read(in)
		if err != nil {
			return
		}
		if e[0] != "connect" {
			c.Hello[e[0]] = e[1:]
			continue
		}
		if len(e) != len(args) {
			say(conn, "error", "as many values as arguments", "512")
			return
		}
		if len(c.Hello["size"]) != 3 {
			say(conn, "error", "a size of three", "512")
			return
		}
		for i, n := range args[2:] {
			c.Arguments[n] = e[i+2]
		}
		break
	}
	say(conn, "ready", "$a-connection")
	p.Clients <- c
	if p.Raw != "" {
		io.WriteString(conn, p.Raw)
		io.Copy(io.Discard, in)
		return
	}
	p.desktop(conn, in, c)
}

// desktop is a client that has joined.
func (p *Peer) desktop(conn net.Conn, in *bufio.Reader, c *Client) {
	server, err := connect(c.Arguments)
	if err != nil {
		say(conn, "error", err.Error(), "519")
		say(conn, "disconnect")
		return
	}
	defer server.Close()
	size := c.Hello["size"]
	say(conn, "size", "0", size[0], size[1])
	say(conn, "rect", "0", "0", "0", size[0], size[1])
	say(conn, "cfill", "14", "0", "16", "34", "46", "255")
	say(conn, "sync", "1")
	var work sync.WaitGroup
	defer work.Wait()
	defer server.Close()
	work.Go(func() {
		b := make([]byte, 1024)
		for {
			n, err := server.Read(b)
			if n > 0 {
				say(conn, "blob", "1", base64.StdEncoding.EncodeToString(b[:n]))
				say(conn, "name", "a😀b")
			}
			if err != nil {
				say(conn, "disconnect")
				conn.Close()
				return
			}
		}
	})
	for {
		e, err := read(in)
		if err != nil {
			return
		}
		c.mu.Lock()
		c.heard = append(c.heard, e[0])
		c.mu.Unlock()
		if len(e) < 3 && (e[0] == "file" || e[0] == "blob") {
			return
		}
		if e[0] == "disconnect" {
			return
		}
		switch e[0] {
		case "file":
			say(conn, "ack", e[1], "OK", "0")
		case "blob":
			if data, err := base64.StdEncoding.DecodeString(e[2]); err == nil {
				c.mu.Lock()
				c.file = append(c.file, data...)
				c.mu.Unlock()
			}
			say(conn, "ack", e[1], "OK", "0")
		}
		if e[0] == "key" && len(e) == 3 && e[2] == "1" {
			if k, err := strconv.Atoi(e[1]); err == nil {
				server.Write([]byte{byte(k)})
			}
		}
	}
}

// connect is RDP until TLS is up.
func connect(a map[string]string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(a["hostname"], a["port"]), 10*time.Second)
	if err != nil {
		return nil, err
	}
	protocol := byte(2)
	if a["security"] == "tls" {
		protocol = 1
	}
	token := a["load-balance-info"] // as FreeRDP sends it
	if token != "" && !strings.HasSuffix(token, "\r\n") {
		token += "\r\n"
	}
	size := byte(19 + len(token))
	request := append([]byte{3, 0, 0, size, size - 5, 0xe0, 0, 0, 0, 0, 0}, token...)
	conn.Write(append(request, 1, 0, 8, 0, protocol, 0, 0, 0))
	confirm := make([]byte, 19)
	if _, err := io.ReadFull(conn, confirm); err != nil || confirm[11] != 2 {
		conn.Close()
		return nil, fmt.Errorf("no X.224: %x, %w", confirm, err)
	}
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(cs tls.ConnectionState) error {
		sum := sha256.Sum256(cs.PeerCertificates[0].Raw)
		var text []string
		for _, b := range sum {
			text = append(text, fmt.Sprintf("%02x", b))
		}
		if a["cert-fingerprints"] != "sha256:"+strings.Join(text, ":") {
			return fmt.Errorf("unknown certificate")
		}
		return nil
	}})
	if err := c.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func say(w io.Writer, elements ...string) {
	var b strings.Builder
	for i, e := range elements {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d.%s", utf8.RuneCountInString(e), e)
	}
	b.WriteByte(';')
	io.WriteString(w, b.String())
}

func read(r *bufio.Reader) ([]string, error) {
	var elements []string
	for {
		digits, err := r.ReadString('.')
		if err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(strings.TrimSuffix(digits, "."))
		if err != nil {
			return nil, err
		}
		var e strings.Builder
		for range n {
			c, _, err := r.ReadRune()
			if err != nil {
				return nil, err
			}
			e.WriteRune(c)
		}
		elements = append(elements, e.String())
		switch end, err := r.ReadByte(); {
		case err != nil:
			return nil, err
		case end == ';':
			return elements, nil
		case end != ',':
			return nil, fmt.Errorf("%q after an element", end)
		}
	}
}
