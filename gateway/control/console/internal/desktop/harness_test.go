package desktop

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/rdcleanpath"
	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/internal/testca"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patient ends tests that hang; nothing here takes a tenth of it.
const patienceOfTests = 60 * time.Second

// A device is a host with an RDP server of our own: it negotiates, makes the TLS
// handshake, and sends back what it is sent.
type device struct {
	t    testing.TB
	ln   net.Listener
	cert tls.Certificate
	sum  string // of its certificate, in hex

	mu     sync.Mutex
	asked  [][]byte // X.224 requests that came
	mode   mode
	answer rdcleanpath.Security
	refuse byte // why it refuses, if it does
}

// A mode is how a device misbehaves.
type mode int

const (
	honest mode = iota
	silentAtX224
	junkAtX224
	silentAtTLS
	junkAtTLS
	dropsAfterTLS  // as for a wrong password
	endsAfterTLS   // after it showed something
	floodsAfterTLS // sends without reading
)

func newDevice(t testing.TB) *device {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ca := testca.New(t, t.TempDir())
	d := &device{t: t, ln: ln, cert: ca.Pair(ca.Server("kiosk", []string{"kiosk"})), answer: rdcleanpath.Hybrid}
	sum := sha256.Sum256(d.cert.Certificate[0])
	d.sum = hex.EncodeToString(sum[:])
	var work sync.WaitGroup
	var open sync.Map
	work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(c, true)
			work.Go(func() {
				defer c.Close()
				d.serve(c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		work.Wait()
	})
	return d
}

func (d *device) is(m mode) { d.mu.Lock(); d.mode = m; d.mu.Unlock() }

// requests are the X.224 requests that came so far.
func (d *device) requests() [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([][]byte(nil), d.asked...)
}

func (d *device) serve(c net.Conn) {
	request, err := rdcleanpath.ReadX224(c)
	if err != nil {
		return
	}
	d.mu.Lock()
	d.asked = append(d.asked, request)
	m, answer, refuse := d.mode, d.answer, d.refuse
	d.mu.Unlock()
	confirm := []byte{3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, 2, 0, 8, 0, byte(answer), 0, 0, 0}
	switch {
	case m == silentAtX224:
		io.Copy(io.Discard, c)
		return
	case m == junkAtX224:
		io.WriteString(c, "SSH-2.0-OpenSSH_9.2p1\r\n")
		io.Copy(io.Discard, c)
		return
	case refuse != 0:
		confirm[11], confirm[15] = 3, refuse
	}
	c.Write(confirm)
	switch m {
	case silentAtTLS:
		io.Copy(io.Discard, c)
		return
	case junkAtTLS:
		io.WriteString(c, "nonsense, and more of it")
		io.Copy(io.Discard, c)
		return
	}
	s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{d.cert}})
	if s.Handshake() != nil {
		return
	}
	switch m {
	case dropsAfterTLS:
	case endsAfterTLS:
		s.Write(make([]byte, signIn))
		s.Close()
	case floodsAfterTLS:
		for _, err := s.Write(make([]byte, chunk)); err == nil; _, err = s.Write(make([]byte, chunk)) {
		}
	default:
		io.Copy(s, s)
		s.Close()
	}
}

// A tab leads to one device's RDP port.
type tab struct {
	ctx  context.Context
	end  context.CancelCauseFunc
	to   *device
	ssh  string // where its SSH answers
	mu   sync.Mutex
	left bool
}

func (t *tab) Context() context.Context { return t.ctx }

func (t *tab) Err() error { return context.Cause(t.ctx) }

func (t *tab) Close() {
	t.mu.Lock()
	t.left = true
	t.mu.Unlock()
	t.end(nil)
}

func (t *tab) closed() bool { t.mu.Lock(); defer t.mu.Unlock(); return t.left }

func (t *tab) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	switch {
	case port == portRDP && t.to != nil:
		return new(net.Dialer).DialContext(ctx, "tcp", t.to.ln.Addr().String())
	case port == portSSH && t.ssh != "":
		return new(net.Dialer).DialContext(ctx, "tcp", t.ssh)
	case port == portRDP || port == portSSH:
		return nil, errors.New("connection refused")
	}
	return nil, client.Refuse(http.StatusForbidden, "port_not_granted", "")
}

// A world is a console with a device, and a browser before it.
type world struct {
	t      *testing.T
	device *device
	s      *Server
	http   *httptest.Server

	mu    sync.Mutex
	codes map[string]*Target
}

func newWorld(t *testing.T, cfg Config) *world {
	t.Helper()
	w := &world{t: t, device: newDevice(t), codes: make(map[string]*Target)}
	cfg.Redeem = w.redeem
	w.s = New(&cfg)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /console/desktop", w.s.Iron)
	mux.HandleFunc("GET /console/guac", w.s.Guac)
	w.http = httptest.NewServer(mux)
	t.Cleanup(w.http.Close)
	return w
}

// code makes a connect code for the world's device, which has signed its certificate.
func (w *world) code(changes ...func(*Target)) (string, *tab) {
	to := &tab{to: w.device}
	to.ctx, to.end = context.WithCancelCause(context.Background())
	w.t.Cleanup(func() { to.end(nil) })
	target := &Target{Tab: to, User: "ann", Session: "s-1", Device: "kiosk-1", RDP: w.device.sum}
	for _, c := range changes {
		c(target)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	code := "code-" + string(rune('a'+len(w.codes)))
	w.codes[code] = target
	return code, to
}

func (w *world) redeem(_ *http.Request, code string) (*Target, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	target := w.codes[code]
	if target == nil {
		return nil, client.Refuse(http.StatusUnauthorized, "bad_code", "")
	}
	w.codes[code] = nil
	return target, nil
}

// dial opens a WebSocket as a page of the console's does.
func (w *world) dial(path string, protocol ...string) *websocket.Conn {
	w.t.Helper()
	ws, _, err := websocket.Dial(w.ctx(), w.http.URL+path, &websocket.DialOptions{
		HTTPHeader: http.Header{"Origin": {w.http.URL}}, Subprotocols: protocol,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { ws.CloseNow() })
	ws.SetReadLimit(1 << 20)
	return ws
}

func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patienceOfTests)
	w.t.Cleanup(cancel)
	return ctx
}

// ends waits until the WebSocket ends and compares how.
func (w *world) ends(ws *websocket.Conn, code websocket.StatusCode, reason string) {
	w.t.Helper()
	for {
		_, _, err := ws.Read(w.ctx())
		if err == nil {
			continue
		}
		var e websocket.CloseError
		if !errors.As(err, &e) || e.Code != code || e.Reason != reason {
			w.t.Fatalf("ended with %v, want %d %q", err, code, reason)
		}
		return
	}
}

// settled waits until nothing is open any more.
func (w *world) settled() Stats {
	w.t.Helper()
	for end := time.Now().Add(patienceOfTests); ; time.Sleep(2 * time.Millisecond) {
		v := w.s.Stats()
		n := uint64(0)
		for _, k := range v.Ended {
			n += k
		}
		if v.Open == 0 && n > 0 {
			return v
		}
		if time.Now().After(end) {
			w.t.Fatalf("still open: %+v", v)
		}
	}
}

// An engine is IronRDP's part until TLS is up.
type engine struct {
	w    *world
	ws   *websocket.Conn
	conn net.Conn
}

// browserAsks is what IronRDP sends: it can do TLS and NLA.
var browserAsks = []byte("\x03\x00\x00\x2b\x26\xe0\x00\x00\x00\x00\x00Cookie: mstshash=kiosk\r\n\x01\x00\x08\x00\x03\x00\x00\x00")

// asks sends the first PDU and returns the answer.
func (w *world) asks(p *rdcleanpath.PDU) (*engine, *rdcleanpath.PDU) {
	w.t.Helper()
	e := &engine{w: w, ws: w.dial("/console/desktop")}
	b, err := p.Append(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	e.send(b)
	kind, b, err := e.ws.Read(w.ctx())
	if err != nil || kind != websocket.MessageBinary {
		w.t.Fatalf("answered %v, %v", kind, err)
	}
	got, err := rdcleanpath.Parse(b)
	if err != nil {
		w.t.Fatalf("answered %x: %v", b, err)
	}
	return e, got
}

func (e *engine) send(b []byte) {
	e.w.t.Helper()
	if err := e.ws.Write(e.w.ctx(), websocket.MessageBinary, b); err != nil {
		e.w.t.Fatal(err)
	}
}

// opens shows a desktop, or fails.
func (w *world) opens(code string) *engine {
	w.t.Helper()
	e, got := w.asks(&rdcleanpath.PDU{Destination: "somewhere", ProxyAuth: code, X224: browserAsks})
	if got.Error != nil || len(got.Chain) == 0 {
		w.t.Fatalf("answered %v", got)
	}
	if leaf, err := x509.ParseCertificate(got.Chain[0]); err != nil || leaf.Subject.CommonName != "kiosk" {
		w.t.Fatalf("the leaf is %v, %v", leaf, err)
	}
	return e
}

// echoes sends text through the desktop and waits for it to come back.
func (e *engine) echoes(text string) {
	e.w.t.Helper()
	e.send([]byte(text))
	var got strings.Builder
	for got.Len() < len(text) {
		_, b, err := e.ws.Read(e.w.ctx())
		if err != nil {
			e.w.t.Fatalf("after %d bytes: %v", got.Len(), err)
		}
		got.Write(b)
	}
	if got.String() != text {
		e.w.t.Fatalf("%.40q came back", got.String())
	}
}
