package control

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// overTLS serves control as a program does, and returns clients with certificates.
func (w *world) overTLS() (url string, with func(id *keys.Identity) *http.Client) {
	w.t.Helper()
	s := httptest.NewUnstartedServer(w.c)
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	w.t.Cleanup(s.Close)
	return s.URL, func(id *keys.Identity) *http.Client {
		t := s.Client().Transport.(*http.Transport).Clone()
		if id != nil {
			cert, err := keys.TLSCertificate(id, "node")
			if err != nil {
				w.t.Fatal(err)
			}
			t.TLSClientConfig.Certificates = []tls.Certificate{cert}
		}
		w.t.Cleanup(t.CloseIdleConnections)
		return &http.Client{Transport: t}
	}
}

func identity(t testing.TB) *keys.Identity {
	t.Helper()
	id, err := keys.OpenIdentity(keys.NewMemory(), "node")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func post(t testing.TB, c *http.Client, url string, in any) (status int, code string, body []byte) {
	t.Helper()
	b, ok := in.([]byte)
	if !ok {
		var err error
		if b, err = json.Marshal(in); err != nil {
			t.Fatal(err)
		}
	}
	r, err := c.Post(url, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var buf bytes.Buffer
	_, _ = buf.ReadFrom(r.Body)
	var e client.Error
	_ = json.Unmarshal(buf.Bytes(), &e)
	return r.StatusCode, e.Code, buf.Bytes()
}

func TestEnrolment(t *testing.T) {
	clock := newStopped()
	w := newWorld(t, &Config{Pin: strings.Repeat("A", 43), Now: clock.now})
	url, with := w.overTLS()
	claim, err := w.admin.ClaimNode(t.Context(), "wg-1")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(claim.Claim, "bwn1.") || !strings.HasSuffix(claim.Claim, "."+strings.Repeat("A", 43)) {
		t.Errorf("claim %q", claim.Claim)
	}
	one, two := identity(t), identity(t)
	key := keys.NewPrivateKey().Public()
	request := enrolRequest{Claim: claim.Claim, Name: "wg-1", Key: key, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1")}}
	try := func(id *keys.Identity, change func(*enrolRequest)) string {
		t.Helper()
		r := request
		if change != nil {
			change(&r)
		}
		status, code, _ := post(t, with(id), url+pathEnroll, r)
		if status == http.StatusOK {
			return "ok"
		}
		return code
	}
	for _, tc := range []struct {
		name   string
		id     *keys.Identity
		change func(*enrolRequest)
		want   string
	}{
		{"without a certificate", nil, nil, "no_certificate"},
		{"another name", one, func(r *enrolRequest) { r.Name = "wg-2" }, "wrong_node"},
		{"a guess", one, func(r *enrolRequest) { r.Claim = "bwn1." + strings.Repeat("A", 22) + "." }, "claim_used"},
		{"no claim", one, func(r *enrolRequest) { r.Claim = "" }, keys.ReasonMalformed},
		{"an empty claim", one, func(r *enrolRequest) { r.Claim = "bwn1.." }, keys.ReasonMalformed},
		{"no key", one, func(r *enrolRequest) { r.Key = keys.PublicKey{} }, keys.ReasonMalformed},
		{"right", one, nil, "ok"},
		{"the same node again", one, nil, "ok"},
		{"another node with the same claim", two, nil, "claim_used"},
		{"the same node with another key", one, func(r *enrolRequest) { r.Key = keys.NewPrivateKey().Public() }, "claim_used"},
	} {
		if got := try(tc.id, tc.change); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	_, _, body := post(t, with(one), url+pathEnroll, request)
	var out enrolAnswer
	if err := json.Unmarshal(body, &out); err != nil || out.Name != "wg-1" || out.Issuer != keys.DefaultIssuer || out.Roots[0] != w.c.Roots()[0] || out.Proof.String() != "10.166.255.0" || out.Pool.String() != "10.166.0.0/16" {
		t.Errorf("answered %+v, %v", out, err)
	}
	// An identity is one node's.
	claim, _ = w.admin.ClaimNode(t.Context(), "wg-2")
	if got := try(one, func(r *enrolRequest) { r.Claim, r.Name = claim.Claim, "wg-2" }); got != "key_in_use" {
		t.Errorf("a second node of one identity: %s", got)
	}
	// A claim is replaced by a later one, and grows old.
	later, _ := w.admin.ClaimNode(t.Context(), "wg-2")
	if got := try(two, func(r *enrolRequest) { r.Claim, r.Name = claim.Claim, "wg-2" }); got != "claim_used" {
		t.Errorf("a replaced claim: %s", got)
	}
	clock.move(claimFor)
	if got := try(two, func(r *enrolRequest) { r.Claim, r.Name = later.Claim, "" }); got != "claim_expired" {
		t.Errorf("an old claim: %s", got)
	}
	// What is written holds no secret.
	secret := strings.Split(later.Claim, ".")[1]
	rows, err := w.c.store.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if strings.Contains(r.ClaimHash, secret) || r.Name == "wg-1" && r.ClaimHash != "" {
			t.Errorf("stored %+v", r)
		}
	}
	// Bodies are bounded and strict.
	big := append([]byte(`{"claim":"`), bytes.Repeat([]byte("a"), 1<<20)...)
	if status, code, _ := post(t, with(one), url+pathEnroll, big); status != http.StatusRequestEntityTooLarge || code != keys.ReasonOversized {
		t.Errorf("1 MiB: %d %s", status, code)
	}
	if status, code, _ := post(t, with(one), url+pathReport, []byte(`{"seq":1,"seq":2}`)); status != http.StatusBadRequest || code != keys.ReasonDuplicateKey {
		t.Errorf("twice: %d %s", status, code)
	}
}

// The first report of a node that is as full as a node can be has room: refused, it would
// come again for ever.
func TestReportOfFullNode(t *testing.T) {
	const most = 60_000 // peers of a node
	full := nodeReport{Sessions: new(make([]nodeHeld, most))}
	for i := range most {
		(*full.Sessions)[i] = nodeHeld{Session: keys.NewID(), Rev: 100_000, Fresh: true}
	}
	for range 512 {
		full.Events = append(full.Events, nodeEvent{
			Kind: "installed", Session: keys.NewID(), Rev: 100_000, Rx: 1 << 50, Tx: 1 << 50, AtMicro: 1 << 50, From: netip.MustParseAddr("203.0.113.100"),
		})
	}
	body, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	if len(body) > maxReport {
		t.Errorf("%d bytes, of at most %d", len(body), maxReport)
	}
}

func TestNodesAreApart(t *testing.T) {
	w := newWorld(t, nil)
	url, with := w.overTLS()
	stranger := with(identity(t))
	if status, code, _ := post(t, stranger, url+pathReport, nodeReport{}); status != http.StatusForbidden || code != "unknown_node" {
		t.Errorf("a stranger's report: %d %s", status, code)
	}
	for name, c := range map[string]*http.Client{"a stranger": stranger, "nobody": with(nil)} {
		r, err := c.Get(url + pathFollow)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusForbidden {
			t.Errorf("%s follows: %d", name, r.StatusCode)
		}
	}
	good := w.node("wg-1")
	b := w.booth("kiosk-1", true).serve().known()
	good.mute = true
	opened := make(chan error, 1)
	var s client.Session
	go func() {
		v, err := w.open(op("ann"), "kiosk-1")
		s = v
		opened <- err
	}()
	eventually(t, "the grant at its node", func() bool { good.mu.Lock(); defer good.mu.Unlock(); return len(good.held) == 1 })
	id := ""
	good.mu.Lock()
	for id = range good.held {
	}
	good.mu.Unlock()
	// Another node has no say: not that it is installed, proved or closed.
	evil := w.node("wg-2")
	for _, kind := range []string{eventInstalled, eventProved, eventClosed, eventRefused} {
		evil.say(kind, id, 1, "")
	}
	evil.report(nodeReport{Events: []nodeEvent{{Kind: eventBytes, Session: id, Rx: 1 << 40}}})
	if v, err := w.admin.Session(t.Context(), id); err != nil || v.State != client.Opening || v.Rx != 0 {
		t.Fatalf("another node made it %+v, %v", v, err)
	}
	if b.last() != nil {
		t.Fatal("another node had the device woken")
	}
	if w.audited(auditNode, "unknown_session") == 0 {
		t.Error("not audited")
	}
	good.proves(b)
	good.say(eventInstalled, id, 1, "")
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	w.reaches(s.ID, client.Connected)
	good.report(nodeReport{Events: []nodeEvent{{Kind: eventBytes, Session: id, Rx: 10, Tx: 20}}})
	if v, _ := w.admin.Session(t.Context(), id); v.Rx != 10 || v.Tx != 20 {
		t.Errorf("counted %d, %d", v.Rx, v.Tx)
	}
	// The node ends it by itself.
	good.say(eventClosed, id, 1, "expired")
	if v := w.reaches(id, client.Closed); v.Code != "expired" {
		t.Errorf("closed as %+v", v)
	}
	if _, err := w.admin.Device(t.Context(), "kiosk-1"); err != nil {
		t.Error(err)
	}
}

func TestPlaced(t *testing.T) {
	w := newWorld(t, nil)
	one, two := w.node("wg-1"), w.node("wg-2")
	count := map[string]int{}
	for _, id := range strings.Split("abcdefghijklmnop", "") {
		w.booth(id, true).serve().known()
		count[w.mustOpen(op("ann"), id).Node]++
	}
	if count["wg-1"] < 4 || count["wg-2"] < 4 {
		t.Errorf("spread as %v", count)
	}
	list := map[string]client.Node{}
	for n, err := range w.admin.Nodes(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		list[n.Name] = n
	}
	if n := list["wg-1"]; n.State != "connected" || n.Sessions != count["wg-1"] || n.Identity != one.id.Key() || n.Key != one.key.Public() || n.Version != "test" || n.Proof == list["wg-2"].Proof {
		t.Errorf("shown as %+v", n)
	}
	if n, err := w.admin.DrainNode(t.Context(), "wg-1", client.DrainRequest{Draining: true}); err != nil || !n.Draining {
		t.Fatal(err)
	}
	for _, id := range strings.Split("uvwxyz", "") {
		w.booth(id, true).serve().known()
		if s := w.mustOpen(op("ann"), id); s.Node != "wg-2" {
			t.Errorf("a draining node got a session: %+v", s)
		}
	}
	two.mu.Lock()
	two.deleted = true
	two.mu.Unlock()
	if err := w.admin.DeleteNode(t.Context(), "wg-2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its sessions end", func() bool { return w.c.Stats().Sessions == count["wg-1"] })
	if status := two.post(pathReport, nodeReport{}, nil); status != http.StatusForbidden {
		t.Errorf("a deleted node reports: %d", status)
	}
}

// A node that carries a relay hears of every session that is over, those before it
// came and those of other nodes too; other nodes hear of their own only.
func TestFollowWithRelay(t *testing.T) {
	w := newWorld(t, nil)
	w.node("wg-1")
	carrier := w.node("wg-2")
	if _, err := w.admin.DrainNode(t.Context(), "wg-2", client.DrainRequest{Draining: true}); err != nil {
		t.Fatal(err)
	}
	follow := func(query string) (next func() string) {
		ctx, cancel := context.WithCancel(context.Background())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, localURL+pathFollow+query, nil)
		r, err := carrier.way().Do(req)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("follow: %v", err)
		}
		t.Cleanup(func() { cancel(); r.Body.Close() })
		dec := json.NewDecoder(r.Body)
		return func() string {
			for {
				var l nodeLine
				if err := dec.Decode(&l); err != nil {
					return err.Error()
				}
				if l.Kind == lineOver {
					return l.Session
				}
			}
		}
	}
	ann := w.c.Client(op("ann"))
	over := func(device string) string {
		t.Helper()
		w.booth(device, true).serve().known()
		s := w.mustOpen(op("ann"), device)
		if s.Node != "wg-1" {
			t.Fatalf("opened on %s", s.Node)
		}
		if _, err := ann.CloseSession(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		w.reaches(s.ID, client.Closed)
		return s.ID
	}
	first := over("kiosk-1")
	next := follow("?relay=1")
	if got := next(); got != first {
		t.Errorf("first heard of %s, want %s", got, first)
	}
	second := over("kiosk-2")
	if got := next(); got != second {
		t.Errorf("then heard of %s, want %s", got, second)
	}
	next = follow("")
	over("kiosk-3")
	_ = w.admin.DeleteNode(t.Context(), "wg-2") // which ends its stream
	if got := next(); got != io.EOF.Error() {
		t.Errorf("without a relay: %s", got)
	}
}

// A real server, a real stream: pings keep it, and a second one takes its place.
func TestFollowOverTLS(t *testing.T) {
	w := newWorld(t, nil)
	url, with := w.overTLS()
	claim, err := w.admin.ClaimNode(t.Context(), "wg-1")
	if err != nil {
		t.Fatal(err)
	}
	c := with(identity(t))
	if status, code, _ := post(t, c, url+pathEnroll, enrolRequest{Claim: claim.Claim, Key: keys.NewPrivateKey().Public()}); status != http.StatusOK {
		t.Fatalf("enrol: %d %s", status, code)
	}
	follow := func() (*http.Response, func()) {
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+pathFollow, nil)
		r, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var l nodeLine
		if err := json.NewDecoder(r.Body).Decode(&l); err != nil || l.Kind != lineHello || l.Pool != w.c.cfg.Pool {
			t.Fatalf("greeted with %+v, %v", l, err)
		}
		return r, func() { cancel(); r.Body.Close() }
	}
	first, endFirst := follow()
	_, endSecond := follow()
	if _, err := new(bytes.Buffer).ReadFrom(first.Body); err != nil && w.c.Stats().Nodes != 1 {
		t.Errorf("after a second follow: %v", err)
	}
	endFirst()
	if w.c.Stats().Nodes != 1 {
		t.Error("the end of the first stream ended the second")
	}
	endSecond()
	eventually(t, "gone", func() bool { return w.c.Stats().Nodes == 0 })
}

// Where a node has other endpoints for operators, they stand in its grants, also
// after a restart of control.
func TestOperatorEndpoints(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	apart := netip.MustParseAddrPort("192.0.2.1:51821")
	n.report(nodeReport{
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:51820")},
		Operators: []netip.AddrPort{apart, netip.MustParseAddrPort("0.0.0.0:1")},
	})
	n.stop()
	w.restart()
	n.connect()
	n.follow()
	b := w.booth("kiosk-1", true).serve().known()
	w.mustOpen(op("ann"), "kiosk-1")
	eventually(t, "a grant at the device", func() bool { return b.last() != nil })
	if g := b.last(); len(g.Far.OperatorEndpoints) != 1 || g.Far.OperatorEndpoints[0] != apart {
		t.Errorf("operators are told %v", g.Far.OperatorEndpoints)
	}
}

// A report whose answer was lost comes again, also after later ones: what it says happens
// once.
func TestReportAgain(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	b := w.booth("kiosk-1", true).serve().known()
	n.proves(b)
	s := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	told := func(seq uint64, rx ...uint64) {
		r := &nodeReport{Seq: seq}
		for _, n := range rx {
			r.Events = append(r.Events, nodeEvent{Kind: eventBytes, Session: s.ID, Rx: n})
		}
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		w.c.told(w.c.nodes["wg-1"], r, time.Now())
	}
	begun := uint64(time.Now().UnixMicro())
	told(begun, 50)
	told(begun+1, 90, 100)
	told(begun+1, 90, 100)
	told(begun, 50)
	if v := w.reaches(s.ID, client.Connected); v.Rx != 100 {
		t.Errorf("%d bytes of 100", v.Rx)
	}
	// A node of a release before counts from 1 in each run.
	for _, rx := range []uint64{110, 120} {
		told(1, rx)
	}
	if v := w.reaches(s.ID, client.Connected); v.Rx != 120 {
		t.Errorf("%d bytes of 120", v.Rx)
	}
}

// timed counts what is written without a time of its own.
type timed struct {
	*httptest.ResponseRecorder
	mu      sync.Mutex
	fresh   bool
	lines   int
	untimed int
}

func (w *timed) SetWriteDeadline(time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fresh = true
	return nil
}

func (w *timed) SetReadDeadline(time.Time) error { return nil }

func (w *timed) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines++
	if !w.fresh {
		w.untimed++
	}
	w.fresh = false
	return len(b), nil
}

// A node that is told of thousands of sessions has its time for each of them.
func TestFollowInTime(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	n.stop()
	to := &timed{ResponseRecorder: httptest.NewRecorder()}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.c.ServeHTTP(to, httptest.NewRequest(http.MethodGet, pathFollow, nil).WithContext(contextWithIdentity(ctx, n.id.Key())))
	}()
	said := func(lines int) func() bool {
		return func() bool {
			to.mu.Lock()
			defer to.mu.Unlock()
			return to.lines == lines
		}
	}
	eventually(t, "hello", said(1))
	w.c.mu.Lock()
	for range 100 {
		w.c.nodes["wg-1"].say(nodeLine{Kind: lineGrant, Session: "s", Token: "t"})
	}
	w.c.mu.Unlock()
	eventually(t, "all lines", said(101))
	cancel()
	<-done
	if to.untimed > 0 {
		t.Errorf("%d of %d lines share the time of others", to.untimed, to.lines)
	}
}
