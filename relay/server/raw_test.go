package server_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/internal/wire"
	"github.com/boothwire/boothwire/relay/server"
)

// raw is a client that says what it likes.
type raw struct {
	t     *testing.T
	conn  *tls.Conn
	nonce []byte
	token []byte
	rest  []byte
}

// upgrade gets as far as the nonce; the error is the relay's refusal.
func (s *session) upgrade(leg int) (*raw, error) { return s.upgradeFrom("127.0.0.1", leg) }

// upgradeFrom does the same from an address of 127.0.0.0/8.
func (s *session) upgradeFrom(ip string, leg int) (*raw, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := tls.DialWithDialer(&d, "tcp", s.w.addr, &tls.Config{RootCAs: s.w.ca.Pool(), ServerName: "127.0.0.1"})
	if err != nil {
		return nil, err
	}
	s.w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	t := s.token(leg, 1)
	r := &raw{t: s.w.t, conn: c, token: must(t.Sign(s.w.signer))}
	fmt.Fprintf(c, "GET /relay HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n\r\n", wire.Protocol, wire.TokenHeader, r.token)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	r.nonce = must(base64.RawURLEncoding.DecodeString(resp.Header.Get(wire.NonceHeader)))
	return r, nil
}

// proof is the frame that proves leg's key to a relay that said nonce.
func (s *session) proof(r *raw, nonce []byte, leg int, generation uint64) []byte {
	secret := must(s.keys[leg].RelaySecret(s.w.key.Public()))
	return wire.AppendProof(nil, wire.MAC(secret, nonce, r.token, leg, generation), generation)
}

// joined is a leg that proved its key.
func (s *session) joined(leg int, generation uint64) *raw {
	s.w.t.Helper()
	return s.joinedFrom("127.0.0.1", leg, generation)
}

func (s *session) joinedFrom(ip string, leg int, generation uint64) *raw {
	s.w.t.Helper()
	r := must(s.upgradeFrom(ip, leg))
	r.conn.Write(s.proof(r, r.nonce, leg, generation))
	if typ, body := r.next(); typ != wire.Ready {
		s.w.t.Fatalf("a proof is answered by %d %q", typ, body)
	}
	return r
}

// next reads a frame; one without a body is the end.
func (r *raw) next() (wire.Type, []byte) {
	buf := make([]byte, 4<<10)
	for {
		typ, body, n, err := wire.Next(r.rest)
		if err != nil {
			r.t.Fatal(err)
		}
		if n > 0 {
			r.rest = r.rest[n:]
			return typ, body
		}
		m, err := r.conn.Read(buf)
		if err != nil {
			return 0, nil
		}
		r.rest = append(r.rest, buf[:m]...)
	}
}

// code reads until the relay's BYE.
func (r *raw) code() string {
	for {
		switch typ, body := r.next(); {
		case typ == wire.Bye:
			return string(body)
		case body == nil:
			return "closed"
		}
	}
}

func TestRelayProofs(t *testing.T) {
	w := newWorld(t)
	s := w.session()
	seen := s.joined(0, 5) // what an eavesdropper within TLS would have
	replay := s.proof(seen, seen.nonce, 0, 6)
	for name, tc := range map[string]struct {
		say  func(r *raw) []byte
		code string
	}{
		"replayed":             {func(*raw) []byte { return replay }, "bad_proof"},
		"of the other leg":     {func(r *raw) []byte { return s.proof(r, r.nonce, 1, 6) }, "bad_proof"},
		"equal generation":     {func(r *raw) []byte { return s.proof(r, r.nonce, 0, 5) }, "superseded"},
		"older generation":     {func(r *raw) []byte { return s.proof(r, r.nonce, 0, 4) }, "superseded"},
		"a packet before it":   {func(r *raw) []byte { return append(wire.AppendPacket(nil, []byte("p")), s.proof(r, r.nonce, 0, 6)...) }, "malformed"},
		"a longer one":         {func(*raw) []byte { return wire.AppendControl(nil, wire.Proof, make([]byte, wire.ProofSize+1)...) }, "malformed"},
		"a token instead":      {func(r *raw) []byte { return wire.AppendControl(nil, wire.Token, r.token...) }, "malformed"},
		"the start of a flood": {func(*raw) []byte { return []byte{0x40, 0, 1} }, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := must(s.upgrade(0))
			r.conn.Write(tc.say(r))
			if code := r.code(); code != tc.code {
				t.Errorf("%s, want %s", code, tc.code)
			}
		})
	}
	// None of them took the leg's place.
	seen.conn.Write(wire.AppendControl(nil, wire.Ping, []byte("12345678")...))
	if typ, body := seen.next(); typ != wire.Pong || string(body) != "12345678" {
		t.Errorf("the leg hears %d %q", typ, body)
	}
	// A machine whose clock went back is let in where nobody is.
	seen.conn.Close()
	w.wait("the leg is gone", func() bool { return w.srv.Stats().Legs == 0 })
	s.joined(0, 1)
}

func TestRelayFrames(t *testing.T) {
	w := newWorld(t)
	s := w.session()
	said := func(b []byte) func(*session) []byte { return func(*session) []byte { return b } }
	token := func(by *keys.Signer, change func(s *session, t *keys.Token)) func(*session) []byte {
		return func(s *session) []byte {
			t := s.token(0, 2)
			change(s, &t)
			return wire.AppendControl(nil, wire.Token, must(t.Sign(by))...)
		}
	}
	for name, tc := range map[string]struct {
		say  func(*session) []byte
		code string
	}{
		"an empty packet":            {said([]byte{0, 0, 1}), "malformed"},
		"a packet too long":          {said([]byte{0x40, 1, 1}), "malformed"},
		"a proof again":              {said(wire.AppendProof(nil, make([]byte, 32), 9)), "malformed"},
		"a short ping":               {said(wire.AppendControl(nil, wire.Ping, 1)), "malformed"},
		"a long echo":                {said(wire.AppendControl(nil, wire.Echo, make([]byte, 9)...)), "malformed"},
		"no token":                   {said(wire.AppendControl(nil, wire.Token, []byte("a.b.c")...)), "malformed"},
		"a token of another session": {token(w.signer, func(_ *session, t *keys.Token) { t.Session = s.id }), "wrong_session"},
		"a token of other keys":      {token(w.signer, func(_ *session, t *keys.Token) { t.Ends[1] = keys.NewPrivateKey().Public() }), "wrong_session"},
		"a token of the other leg":   {token(w.signer, func(_ *session, t *keys.Token) { t.Leg = 1 }), "wrong_session"},
		"a token of another relay":   {token(w.signer, func(_ *session, t *keys.Token) { t.Relays = []string{"r-2"} }), keys.ReasonWrongRelay},
		"a token that is over":       {token(w.signer, func(_ *session, t *keys.Token) { t.End = time.Now().Add(-time.Second) }), keys.ReasonExpired},
		"a token of a stranger":      {token(stranger(), func(*session, *keys.Token) {}), keys.ReasonUnknownSigner},
	} {
		t.Run(name, func(t *testing.T) {
			like := w.sessionLike(s)
			r := like.joined(0, 1)
			r.conn.Write(tc.say(like))
			if code := r.code(); code != tc.code {
				t.Errorf("%s, want %s", code, tc.code)
			}
		})
	}
	// What is not known yet is skipped, and what stands around it is not.
	a, b := s.joined(0, 1), s.joined(1, 1)
	if typ, _ := a.next(); typ != wire.Peer {
		t.Fatalf("not paired: %d", typ)
	}
	mixed := wire.AppendPacket(nil, []byte("before"))
	mixed = wire.AppendControl(mixed, 99, []byte("later versions say this")...)
	mixed = wire.AppendControl(mixed, wire.Bye, []byte("a_client_has_no_bye")...)
	mixed = wire.AppendControl(mixed, wire.Echo, []byte("12345678")...)
	mixed = wire.AppendPacket(mixed, []byte("after"))
	for _, part := range [][]byte{mixed[:1], mixed[1:5], mixed[5:]} { // in pieces
		a.conn.Write(part)
	}
	var got []string
	for range 3 {
		typ, body := b.next()
		got = append(got, fmt.Sprint(typ, string(body)))
	}
	if want := "[0before 4" + "12345678 0after]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// A rate so low that no pause is long enough: what is over it is lost, and the leg
// still answers.
func TestRelayCrawls(t *testing.T) {
	w := newWorld(t)
	s := w.session()
	s.rate = 8_000 // 1 kB/s
	a, b := s.joined(0, 1), s.joined(1, 1)
	var batch []byte
	for range 10 {
		batch = wire.AppendPacket(batch, make([]byte, 1300))
	}
	const sent = 20
	var heard atomic.Int64
	over := make(chan struct{})
	go func() {
		defer close(over)
		for _, body := b.next(); body != nil; _, body = b.next() {
			heard.Add(int64(len(body)))
		}
	}()
	go func() {
		for range sent {
			a.conn.Write(batch)
		}
		a.conn.Write(wire.AppendControl(nil, wire.Ping, []byte("12345678")...))
	}()
	for typ := wire.Ready; typ != wire.Pong; {
		var body []byte
		if typ, body = a.next(); body == nil {
			t.Fatal("the leg ended")
		}
	}
	if most := int64(160 << 10); heard.Load() > most {
		t.Errorf("%d of %d bytes came, want at most %d", heard.Load(), sent*len(batch), most)
	}
	w.wait("something of it", func() bool { // all of it may have become too old
		if heard.Load() == 0 {
			a.conn.Write(batch)
		}
		return heard.Load() > 0
	})
	b.conn.CloseWrite() // the end of what it hears
	<-over
}

// answered sends frames and a ping behind them, and waits for its pong: then they have
// been dealt with.
func (r *raw) answered(t *testing.T, frames []byte) {
	t.Helper()
	go r.conn.Write(wire.AppendControl(frames, wire.Ping, []byte("12345678")...))
	for typ := wire.Ready; typ != wire.Pong; {
		var body []byte
		if typ, body = r.next(); body == nil {
			t.Fatal("the leg ended")
		}
	}
}

// A later token's rate is the session's, whichever leg shows it.
func TestRelayRateOfBothLegs(t *testing.T) {
	w := newWorld(t)
	s := w.session()
	a, b := s.joined(0, 1), s.joined(1, 1)
	token := s.token(1, 2)
	token.Rate = 8_000
	b.answered(t, wire.AppendControl(nil, wire.Token, must(token.Sign(w.signer))...))
	go io.Copy(io.Discard, b.conn)
	var packets []byte
	for range 300 {
		packets = wire.AppendPacket(packets, make([]byte, 1300))
	}
	a.answered(t, packets)
	if st := w.srv.Stats(); st.Excess == 0 {
		t.Errorf("the other leg kept its rate: %+v", st)
	}
}

// Verifying a token costs more than a thousand packets; the same again costs nothing.
func TestRelayTokenShownAgain(t *testing.T) {
	var looks atomic.Int64
	w := newWorld(t, func(c *server.Config) {
		c.Now = func() time.Time { looks.Add(1); return time.Now() }
	})
	s := w.session()
	a := s.joined(0, 1)
	token := s.token(0, 2)
	frame := wire.AppendControl(nil, wire.Token, must(token.Sign(w.signer))...)
	before := looks.Load()
	a.answered(t, bytes.Repeat(frame, 500))
	if n := looks.Load() - before; n > 10 {
		t.Errorf("500 times the same token: %d looks at the clock", n)
	}
}

// sessionLike is a session of its own with the keys of s.
func (w *world) sessionLike(s *session) *session {
	n := *s
	n.id = w.session().id
	return &n
}

// Thousands who have a token and prove nothing cost no more than the door lets in.
func TestRelayHalfOpen(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.Open, c.PerIP, c.Waiting = 32, 32, 1 })
	a, b := w.session().pair()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, flood := heap(), w.session()
	var wg sync.WaitGroup
	var open sync.Map
	for range 8 {
		wg.Go(func() {
			for range 40 {
				if r, err := flood.upgrade(0); err == nil { // and no word more
					open.Store(r, nil)
				}
			}
		})
	}
	wg.Wait()
	st := w.srv.Stats()
	if st.Open > 32 || st.Reasons["full"] < 200 || st.Legs != 2 {
		t.Errorf("%+v", st)
	}
	// The clients are in here as well, with some 20 KiB each.
	if grown := int64(heap()) - int64(before); grown > 32<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	w.send(a, b, []byte("unharmed"))
	for r := range open.Range {
		r.(*raw).conn.Close()
	}
	w.wait("they are gone", func() bool { return w.srv.Stats().Open == 0 })
	w.session().pair()
}

// In a host's own server the door stands behind the request.
func TestRelayHalfOpenInHost(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.Open = 2 })
	front := httptest.NewUnstartedServer(w.srv)
	front.TLS = w.cfg.TLS
	front.StartTLS()
	defer front.Close()
	w.addr = front.Listener.Addr().String()
	s := w.session()
	one, two := must(s.upgrade(0)), must(s.upgrade(0))
	three := must(s.upgrade(0))
	if _, err := three.conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a third one: %v", err)
	}
	one.conn.Write(s.proof(one, one.nonce, 0, 1))
	if typ, _ := one.next(); typ != wire.Ready {
		t.Errorf("a proof is answered by %d", typ)
	}
	two.conn.Close()
	w.wait("nobody in the door", func() bool { return w.srv.Stats().Open == 0 })
	s.joined(1, 1)
}

// A leg that comes at the moment of a revocation is not forgotten.
func TestRelayRevokeRace(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		s := w.session()
		r := must(s.upgrade(0))
		proof := s.proof(r, r.nonce, 0, 1)
		var wg sync.WaitGroup
		wg.Go(func() { r.conn.Write(proof) })
		wg.Go(func() { w.srv.Revoke(s.id) })
		wg.Wait()
		if code := r.code(); code != "revoked" {
			t.Fatalf("%s, want revoked", code)
		}
	}
	w.wait("no leg", func() bool { return w.srv.Stats().Legs == 0 })
}

func TestRelayRefusesRequests(t *testing.T) {
	w := newWorld(t)
	for text, want := range map[string]int{
		"GET /relay HTTP/1.1\r\nHost: r\r\n\r\n":                                                             426,
		"POST /relay HTTP/1.1\r\nHost: r\r\nUpgrade: " + wire.Protocol + "\r\nContent-Length: 0\r\n\r\n":     426,
		"GET /relay HTTP/1.1\r\nHost: r\r\nUpgrade: " + wire.Protocol + "\r\n\r\n":                           403,
		"GET /relay HTTP/1.1\r\nHost: r\r\nUpgrade: " + wire.Protocol + "\r\nBoothwire-Token: a.b.c\r\n\r\n": 403,
		"GET /other HTTP/1.1\r\nHost: r\r\n\r\n":                                                             404,
	} {
		c := must(tls.Dial("tcp", w.addr, &tls.Config{RootCAs: w.ca.Pool(), ServerName: "127.0.0.1"}))
		c.SetDeadline(time.Now().Add(patience))
		go io.WriteString(c, text)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != want {
			t.Errorf("%.60q: %v, %v, want %d", text, resp, err, want)
		} else if body, _ := io.ReadAll(resp.Body); len(body) > 1<<10 {
			t.Errorf("%.60q: %d bytes of answer", text, len(body))
		}
		c.Close()
	}
	req := httptest.NewRequest(http.MethodGet, wire.Path, nil)
	req.Header.Set("Upgrade", wire.Protocol)
	req.ProtoMajor, req.ProtoMinor = 2, 0
	rec := httptest.NewRecorder()
	w.srv.ServeHTTP(rec, req)
	if rec.Code != http.StatusUpgradeRequired {
		t.Errorf("HTTP/2: %d", rec.Code)
	}
}
