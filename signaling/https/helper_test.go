package https

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

func TestMain(m *testing.M) {
	pollerMain()
	leaktest.Main(m)
}

// deviceKey is a device's identity, the same in every process that names the device.
func deviceKey(device string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("seed of " + device))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicKey(device string) keys.IdentityKey {
	return keys.IdentityKey(deviceKey(device).Public().(ed25519.PublicKey))
}

// authority is a certificate for loopback addresses, and the pool that trusts it.
func authority(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "server"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}, pool
}

// rig is a server with a queue, and what its clients need.
type rig struct {
	t      testing.TB
	queue  *Memory
	sender *Sender
	server *http.Server
	addr   string
	cert   tls.Certificate
	pool   *x509.CertPool
}

// newRig serves on 127.0.0.1 under /device/, inside wrap if that is given.
func newRig(t testing.TB, wrap func(http.Handler) http.Handler) *rig {
	t.Helper()
	r := &rig{t: t, queue: NewQueue()}
	r.cert, r.pool = authority(t)
	r.sender = NewSender(r.queue, nil)
	r.serve("127.0.0.1:0", wrap, nil)
	t.Cleanup(func() {
		r.sender.Close()
		r.server.Close()
	})
	return r
}

func (r *rig) serve(addr string, wrap func(http.Handler) http.Handler, tune func(*http.Server)) {
	r.t.Helper()
	mux := http.NewServeMux()
	var h http.Handler = r.sender
	if wrap != nil {
		h = wrap(h)
	}
	mux.Handle("/device/", h)
	r.server = Server(mux)
	r.server.TLSConfig.Certificates = []tls.Certificate{r.cert}
	r.server.ErrorLog = log.New(io.Discard, "", 0)
	if tune != nil {
		tune(r.server)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	go r.server.ServeTLS(ln, "", "")
}

func (r *rig) url() string { return "https://" + r.addr }

func (r *rig) config() *Config {
	return &Config{TLS: &tls.Config{RootCAs: r.pool}, Spread: 20 * time.Millisecond}
}

// listener is a registered device's, towards url or the rig itself.
func (r *rig) listener(device, url string, cfg *Config) *Listener {
	r.t.Helper()
	if err := r.queue.Register(device, publicKey(device)); err != nil {
		r.t.Fatal(err)
	}
	if url == "" {
		url = r.url()
	}
	if cfg == nil {
		cfg = r.config()
	}
	l, err := newListener(device, deviceKey(device), url, cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// sink keeps what a listener delivers.
type sink struct {
	mu       sync.Mutex
	commands []string
	ups      int
	up       bool
	changed  chan struct{}
}

func newSink() *sink { return &sink{changed: make(chan struct{}, 1)} }

func (s *sink) note() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *sink) Deliver(m signaling.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = append(s.commands, string(m.Payload))
	s.note()
}

func (s *sink) Connected(up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = up
	if up {
		s.ups++
	}
	s.note()
}

func (s *sink) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.commands...)
}

// line tells whether the line is up, and how often it came up.
func (s *sink) line() (up bool, ups int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up, s.ups
}

// until waits for a state of the sink.
func (s *sink) until(t testing.TB, what string, ok func(s *sink) bool) {
	t.Helper()
	end := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		is := ok(s)
		s.mu.Unlock()
		if is {
			return
		}
		select {
		case <-s.changed:
		case <-end:
			t.Fatalf("waited in vain until %s; have %d commands, up %v", what, len(s.got()), s.up)
		}
	}
}

func (s *sink) untilUp(t testing.TB) {
	t.Helper()
	s.until(t, "the line is up", func(s *sink) bool { return s.up })
}

func (s *sink) untilCommands(t testing.TB, n int) {
	t.Helper()
	s.until(t, "commands came", func(s *sink) bool { return len(s.commands) >= n })
}

// listen runs l until the test ends.
func listen(t testing.TB, l *Listener) *sink {
	t.Helper()
	s := newSink()
	done := make(chan error, 1)
	go func() { done <- l.Listen(t.Context(), s) }()
	t.Cleanup(func() { // t.Context has ended
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Listen: %v, want context.Canceled", err)
		}
	})
	return s
}

// eventually waits for ok, ten times longer than anything here takes.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain until %s", what)
}

func (r *rig) parked() int { return len(r.sender.lot.waiting("")) }
