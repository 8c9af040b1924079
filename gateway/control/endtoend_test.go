package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// able makes a device that can have end-to-end sessions, and passes what comes for it
// to its handler's end.
func (w *world) able(id string) *booth {
	w.t.Helper()
	b := w.booth(id, true)
	b.cfg.Caps = []string{"other", capEndToEnd}
	b.serve().known()
	eventually(w.t, "caps of "+id, func() bool { return slices.Contains(w.shown(id).Caps, capEndToEnd) })
	return b
}

func (w *world) between(u User, device string) (client.Session, error) {
	return w.c.Client(u).OpenSession(w.t.Context(), device, &client.OpenRequest{Key: keys.NewPrivateKey().Public(), EndToEnd: true})
}

func (w *world) mustBetween(u User, device string) client.Session {
	w.t.Helper()
	s, err := w.between(u, device)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// hand moves the clock of a control.
type hand struct {
	mu  sync.Mutex
	add time.Duration
}

func (h *hand) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Add(h.add)
}

func (h *hand) move(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add += d
}

func TestEndToEnd(t *testing.T) {
	w := newWorld(t, &Config{STUN: []string{"stun.example.com:3478"}})
	b := w.able("kiosk-1")
	s := w.mustBetween(op("ann"), "kiosk-1")
	if !s.EndToEnd || s.Node != "" || s.Grant == "" || len(s.STUN) != 1 || s.Operator == "" {
		t.Fatalf("opened as %+v", s)
	}
	v := w.reaches(s.ID, client.Connected)
	if !v.EndToEnd || v.Grant != "" || v.STUN != nil || v.Relays != nil {
		t.Errorf("connected as %+v", v)
	}
	g := b.last()
	if o := s.Operators[0]; g.Far.Node != "" || g.Far.Key != o.Key || g.Far.Proof != o.Address || len(g.Operators) != 1 ||
		g.Operators[0].Key != o.Key || g.Lifetime != 5*time.Minute || len(g.Far.Endpoints) != 0 {
		t.Errorf("granted %+v", g)
	}
	// It survives a control that is started anew.
	w.restart()
	if v = w.reaches(s.ID, client.Connected); !v.EndToEnd {
		t.Errorf("after a restart %+v", v)
	}
	if v, err := w.c.Client(op("ann")).RenewSession(t.Context(), s.ID); err != nil || v.Renewal == "" {
		t.Errorf("renewed after a restart: %+v, %v", v, err)
	}
	w.mustClose(op("ann"), s.ID)
	if v = w.reaches(s.ID, client.Closed); !v.EndToEnd {
		t.Errorf("closed as %+v", v)
	}
	if v, err := w.admin.Session(t.Context(), s.ID); err != nil || !v.EndToEnd || v.State != client.Closed {
		t.Errorf("in the record as %+v, %v", v, err)
	}
	eventually(t, "nothing is left", func() bool { w.c.mu.Lock(); defer w.c.mu.Unlock(); return len(w.c.sessions) == 0 })
	// The next one may go through a node.
	n := w.node("wg-1")
	n.proves(b)
	if v := w.reaches(w.mustOpen(op("ann"), "kiosk-1").ID, client.Connected); v.EndToEnd || v.Node != "wg-1" {
		t.Errorf("the next session is %+v", v)
	}
}

// A device whose key is gone is asked, with nobody but it to wait for.
func TestEndToEndByAsk(t *testing.T) {
	w := newWorld(t, nil)
	b := w.able("kiosk-1")
	w.c.mu.Lock()
	w.c.devices["kiosk-1"].prekeys = []keys.PublicKey{keys.NewPrivateKey().Public()}
	w.c.mu.Unlock()
	s := w.mustBetween(op("ann"), "kiosk-1")
	if v := w.reaches(s.ID, client.Connected); v.Rev != 2 {
		t.Errorf("connected as %+v", v)
	}
	v, err := w.c.Client(op("ann")).RenewSession(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := keys.ParseRoots(keys.DefaultIssuer, w.c.Roots()...)
	if err != nil {
		t.Fatal(err)
	}
	if g, err := roots.VerifyGrant([]byte(v.Grant)); err != nil || g.Rev != 2 || g.Prekey != b.last().Prekey {
		t.Fatalf("the operator does not get the later grant: %+v, %v", v, err)
	}
	if _, err := b.keys.Renew([]byte(v.Renewal)); err != nil {
		t.Errorf("the device does not take the renewal: %v", err)
	}
}

func TestEndToEndKinds(t *testing.T) {
	for _, tc := range []struct {
		kind   string
		in     client.OpenRequest
		able   bool
		code   string
		direct bool
	}{
		{"", client.OpenRequest{EndToEnd: true}, true, "", true},
		{"", client.OpenRequest{EndToEnd: true}, false, keys.ReasonUnsupported, false},
		{"", client.OpenRequest{EndToEnd: true, Node: "wg-1"}, true, keys.ReasonMalformed, false},
		{"", client.OpenRequest{}, true, "", false},
		{KindNode, client.OpenRequest{EndToEnd: true}, true, "forbidden", false},
		{KindNode, client.OpenRequest{}, true, "", false},
		{KindEndToEnd, client.OpenRequest{}, true, "", true},
		{KindEndToEnd, client.OpenRequest{}, false, keys.ReasonUnsupported, false},
		{KindEndToEnd, client.OpenRequest{Node: "wg-1"}, true, keys.ReasonMalformed, false},
	} {
		t.Run(fmt.Sprintf("%s %v %v", tc.kind, tc.in.EndToEnd, tc.able), func(t *testing.T) {
			w := newWorld(t, &Config{Kind: tc.kind})
			w.node("wg-1")
			if tc.able {
				w.able("kiosk-1")
			} else {
				w.booth("kiosk-1", true).serve().known()
			}
			tc.in.Key = keys.NewPrivateKey().Public()
			s, err := w.c.Client(op("ann")).OpenSession(t.Context(), "kiosk-1", &tc.in)
			if code(err) != tc.code || s.EndToEnd != tc.direct {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
	if _, err := Open(t.Context(), ":memory:", &Config{Store: keys.NewMemory(), Kind: "both"}); err == nil {
		t.Error("an unknown kind opens")
	}
}

// Nobody joins an end-to-end session, and it joins nobody's.
func TestEndToEndIsOneOperators(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	n.proves(w.able("kiosk-1"))
	s := w.mustBetween(op("ann"), "kiosk-1")
	for name, open := range map[string]func() (client.Session, error){
		"a second":      func() (client.Session, error) { return w.between(op("bob"), "kiosk-1") },
		"by a node":     func() (client.Session, error) { return w.open(op("bob"), "kiosk-1") },
		"her own again": func() (client.Session, error) { return w.between(op("ann"), "kiosk-1") },
	} {
		if v, err := open(); code(err) != keys.ReasonBusy {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	bob := w.c.Client(op("bob"))
	if _, err := bob.RenewSession(t.Context(), s.ID); code(err) != "forbidden" {
		t.Errorf("another renews: %v", err)
	}
	if _, err := bob.CloseSession(t.Context(), s.ID); code(err) != "forbidden" {
		t.Errorf("another closes: %v", err)
	}
	if _, err := w.c.Client(User{Name: "boss", Role: Approver}).CloseForAll(t.Context(), s.ID); err != nil {
		t.Errorf("an approver cannot close: %v", err)
	}
	w.reaches(s.ID, client.Closed)
	w.mustOpen(op("bob"), "kiosk-1")
	if v, err := w.between(op("ann"), "kiosk-1"); code(err) != keys.ReasonBusy {
		t.Errorf("beside a session of a node: %+v, %v", v, err)
	}
}

func TestRenewal(t *testing.T) {
	clock := &hand{}
	w := newWorld(t, &Config{Now: clock.now})
	b := w.able("kiosk-1")
	ann := w.c.Client(op("ann"))
	s, err := ann.OpenSession(t.Context(), "kiosk-1", &client.OpenRequest{Key: keys.NewPrivateKey().Public(), EndToEnd: true, Lifetime: 12 * 60})
	if err != nil {
		t.Fatal(err)
	}
	w.reaches(s.ID, client.Connected)
	first := s.Ends
	near := func(what string, got, want time.Duration) {
		t.Helper()
		if (got - want).Abs() > 20*time.Second {
			t.Errorf("%s: %v, want about %v", what, got, want)
		}
	}
	near("granted", first.Sub(s.Opened), 5*time.Minute)
	renewed := func() (client.Session, time.Duration) {
		t.Helper()
		v, err := ann.RenewSession(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		d, err := b.keys.Renew([]byte(v.Renewal))
		if err != nil {
			t.Fatalf("the device refuses: %v", err)
		}
		if len(v.Renewal) >= keys.MaxRenew || v.Grant != s.Grant || v.Operator != s.Operator {
			t.Errorf("renewed as %+v", v)
		}
		return v, d
	}
	clock.move(4 * time.Minute)
	v, d := renewed()
	near("renewed at 4 min", d, 9*time.Minute)
	near("its end", v.Ends.Sub(v.Opened), 9*time.Minute)
	if again, _ := renewed(); again.Renewal != v.Renewal {
		t.Error("a second renewal at once is another one")
	}
	clock.move(4 * time.Minute)
	if _, d = renewed(); d != 12*time.Minute {
		t.Errorf("renewed at 8 min: %v, want all of 12 min", d)
	}
	clock.move(3 * time.Minute)
	if _, d = renewed(); d != 12*time.Minute {
		t.Errorf("renewed at 11 min: %v, want no more than 12 min", d)
	}
	// Longer on the engineer's word only, by a grant.
	v, err = ann.ExtendSession(t.Context(), s.ID, 30*time.Minute)
	if err != nil || v.Rev != 2 || v.Grant == s.Grant {
		t.Fatalf("extended as %+v, %v", v, err)
	}
	near("extended", v.Ends.Sub(v.Opened), 16*time.Minute)
	s = v
	eventually(t, "the device has it", func() bool { return b.last().Rev == 2 })
	clock.move(3 * time.Minute)
	_, d = renewed()
	near("renewed at 14 min", d, 19*time.Minute)
	// Silence ends it.
	clock.move(5*time.Minute + 10*time.Second)
	if _, err := ann.RenewSession(t.Context(), s.ID); code(err) != keys.ReasonClosed {
		t.Errorf("renewed after the end: %v", err)
	}
	live := w.live(s.ID)
	if live != nil {
		w.c.tick(live)
	}
	if v := w.reaches(s.ID, client.Closed); v.Code != "expired" {
		t.Errorf("ended as %+v", v)
	}
	if _, err := ann.RenewSession(t.Context(), s.ID); code(err) != keys.ReasonClosed {
		t.Errorf("renewed when it is gone: %v", err)
	}
	if _, err := ann.RenewSession(t.Context(), "nonsense"); code(err) != "not_found" {
		t.Errorf("renewed what never was: %v", err)
	}
}

// A session of a node has no renewals.
func TestRenewalOfNode(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	n.proves(w.able("kiosk-1"))
	s := w.mustOpen(op("ann"), "kiosk-1")
	ann := w.c.Client(op("ann"))
	if _, err := ann.RenewSession(t.Context(), s.ID); code(err) != keys.ReasonUnsupported {
		t.Errorf("renewed: %v", err)
	}
	if err := ann.SendOffer(t.Context(), s.ID, []byte("x")); code(err) != keys.ReasonUnsupported {
		t.Errorf("offered: %v", err)
	}
}

// A renewal needs nothing of the database, and is still not signed by whose lead is over.
func TestRenewalNeedsTheLead(t *testing.T) {
	w := newWorld(t, nil)
	w.able("kiosk-1")
	s, err := w.between(op("ann"), "kiosk-1")
	if err != nil {
		t.Fatal(err)
	}
	w.reaches(s.ID, client.Connected)
	w.c.mu.Lock()
	w.c.lead = &lead{}
	w.c.mu.Unlock()
	if v, err := w.c.renewSession(op("ann"), s.ID); code(err) != codeNoLead || v.Renewal != "" {
		t.Errorf("renewed: %v", err)
	}
	w.c.mu.Lock()
	w.c.lead = nil
	w.c.mu.Unlock()
}

// Where renewals would not fit, no session begins that could not go on.
func TestRenewalTooLong(t *testing.T) {
	w := newWorld(t, &Config{Issuer: strings.Repeat("i", 60)})
	w.able(strings.Repeat("d", 64))
	if s, err := w.between(op("ann"), strings.Repeat("d", 64)); code(err) != keys.ReasonUnsupported {
		t.Errorf("%+v, %v", s, err)
	}
}

// exchanging makes the device's handler answer each offer with "re:" before it.
func (b *booth) exchanging() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offers = func(ctx context.Context, s *signaling.Session) {
		for {
			o, err := s.ReceiveOffer(ctx)
			if err != nil {
				return
			}
			_ = s.SendOffer(ctx, append([]byte("re:"), o...))
		}
	}
}

func TestOffers(t *testing.T) {
	w := newWorld(t, nil)
	b := w.able("kiosk-1")
	b.exchanging()
	s := w.mustBetween(op("ann"), "kiosk-1")
	ann := w.c.Client(op("ann"))
	long := bytes.Repeat([]byte("x"), client.MaxOffer-3)
	want := []string{"re:first", "re:second", "re:" + string(long)}
	for _, o := range []string{"first", "second", string(long)} {
		if err := ann.SendOffer(t.Context(), s.ID, []byte(o)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	read := func(n int) (got []string, err error) {
		for o, err := range ann.Offers(ctx, s.ID) {
			if err != nil {
				return got, err
			}
			if got = append(got, string(o)); len(got) == n {
				break
			}
		}
		return got, nil
	}
	for range 2 { // who comes late gets the latest few
		if got, err := read(3); err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %.60q, %v", got, err)
		}
	}
	// The process before, whose clock was ahead, gave higher numbers.
	if list, last, err := w.c.watchOffers(ctx, op("ann"), s.ID, 1<<60); err != nil || len(list) != 3 || last == 0 {
		t.Errorf("after a number of another: %d, %v", len(list), err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := read(99)
		ended <- err
	}()
	if _, err := ann.CloseSession(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; code(err) != keys.ReasonClosed {
		t.Errorf("the stream ended with %v", err)
	}
	w.reaches(s.ID, client.Closed)
	if err := ann.SendOffer(t.Context(), s.ID, []byte("x")); code(err) != keys.ReasonClosed {
		t.Errorf("an offer after the end: %v", err)
	}
}

// lossy is a line that loses what it is told to.
type lossy struct {
	*signaling.FleetRide
	mu   sync.Mutex
	lose bool
}

func (l *lossy) Send(ctx context.Context, device string, command []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lose {
		return nil
	}
	return l.FleetRide.Send(ctx, device, command)
}

// Offers that a device could not take because the command was lost come again with it.
func TestOffersAgain(t *testing.T) {
	t.Parallel() // it waits for a repeat
	w := newWorld(t, nil)
	w.stop()
	line := &lossy{FleetRide: w.ride}
	w.begin(w.openControl(), line)
	b := w.able("kiosk-1")
	b.exchanging()
	lose := func(on bool) {
		line.mu.Lock()
		defer line.mu.Unlock()
		line.lose = on
	}
	lose(true)
	s := w.mustBetween(op("ann"), "kiosk-1")
	ann := w.c.Client(op("ann"))
	if err := ann.SendOffer(t.Context(), s.ID, []byte("early")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are lost", func() bool { return w.c.Stats().Commands >= 2 })
	lose(false)
	if got := w.offer(ann, s.ID); got != "re:early" {
		t.Errorf("heard %q", got)
	}
}

// offer returns the first offer that the operator hears.
func (w *world) offer(c *client.Client, id string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for o, err := range c.Offers(ctx, id) {
		if err != nil {
			w.t.Fatal(err)
		}
		return string(o)
	}
	return ""
}

func TestOffersOfOthers(t *testing.T) {
	w := newWorld(t, nil)
	w.able("kiosk-1")
	w.able("kiosk-2")
	s := w.mustBetween(op("ann"), "kiosk-1")
	other := w.mustBetween(op("bob"), "kiosk-2")
	ann := w.c.Client(op("ann"))
	for name, u := range map[string]User{"bob": op("bob"), "an approver": {Name: "boss", Role: Approver}, "an admin": {Name: "root", Role: Admin}} {
		c := w.c.Client(u)
		if err := c.SendOffer(t.Context(), s.ID, []byte("x")); code(err) != "forbidden" {
			t.Errorf("%s offers: %v", name, err)
		}
		ctx, cancel := contextFor(patience)
		defer cancel()
		for o, err := range c.Offers(ctx, s.ID) {
			if code(err) != "forbidden" {
				t.Errorf("%s reads %q, %v", name, o, err)
			}
		}
	}
	if err := w.c.Client(User{Name: "ann", Role: Viewer}).SendOffer(t.Context(), s.ID, []byte("x")); code(err) != "forbidden" {
		t.Errorf("without the role: %v", err)
	}
	if err := w.c.Client(User{Name: "ann", Role: Operator, Groups: []string{"north"}}).SendOffer(t.Context(), s.ID, []byte("x")); code(err) != "not_found" {
		t.Errorf("of another group: %v", err)
	}
	for name, sealed := range map[string][]byte{"nothing": {}, "too much": make([]byte, client.MaxOffer+1)} {
		if err := ann.SendOffer(t.Context(), s.ID, sealed); err == nil {
			t.Errorf("%s is passed on", name)
		}
	}
	w.reaches(s.ID, client.Connected)
	// A device has a say about its own session only.
	w.hears("kiosk-2", outer(t, signaling.Status{VPN: signaling.Connected, Session: s.ID, Offer: []byte("forged")}), false)
	w.hears("kiosk-1", outer(t, signaling.Status{VPN: signaling.Connected, Session: other.ID, Offer: []byte("forged")}), false)
	w.hears("kiosk-1", outer(t, signaling.Status{VPN: signaling.Connected, Offer: []byte("forged")}), false)
	w.hears("kiosk-1", outer(t, signaling.Status{VPN: signaling.Connected, Session: s.ID, Offer: []byte("kept")}), true)
	w.hears("stranger", outer(t, signaling.Status{VPN: signaling.Connected, Session: s.ID, Offer: []byte("forged")}), false)
	w.c.mu.Lock()
	got := len(w.c.sessions[s.ID].offers.in) + len(w.c.sessions[other.ID].offers.in)
	w.c.mu.Unlock()
	if got != 0 {
		t.Errorf("%d offers were believed", got)
	}
	w.hears("kiosk-1", outer(t, signaling.Status{VPN: signaling.Connected, Session: s.ID, Offer: []byte("own")}), false)
	if got := w.offer(ann, s.ID); got != "own" {
		t.Errorf("heard %q", got)
	}
}

func TestOfferFlood(t *testing.T) {
	w := newWorld(t, nil)
	w.able("kiosk-1")
	s := w.mustBetween(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	ann := w.c.Client(op("ann"))
	passed, refused := 0, 0
	for i := range 200 {
		switch err := ann.SendOffer(t.Context(), s.ID, fmt.Append(nil, i)); {
		case err == nil:
			passed++
		case code(err) == keys.ReasonFlood:
			refused++
		default:
			t.Fatal(err)
		}
	}
	if passed < offersBurst || refused == 0 {
		t.Errorf("%d passed, %d refused", passed, refused)
	}
	for i := range 10_000 {
		w.hears("kiosk-1", outer(t, signaling.Status{VPN: signaling.Connected, Session: s.ID, Offer: fmt.Append(nil, i)}), false)
	}
	w.c.mu.Lock()
	kept := len(w.c.sessions[s.ID].offers.in)
	w.c.mu.Unlock()
	if kept != keepOffers {
		t.Errorf("%d offers are kept", kept)
	}
	if w.audited(auditStatus, keys.ReasonFlood) == 0 {
		t.Error("the flood is not in the audit")
	}
	// The session goes on, and can be closed.
	if _, err := ann.CloseSession(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	w.reaches(s.ID, client.Closed)
}

func TestRevocations(t *testing.T) {
	clock := &hand{}
	w := newWorld(t, &Config{Now: clock.now})
	w.able("kiosk-1")
	ann := w.c.Client(op("ann"))
	over := func() string {
		t.Helper()
		s := w.mustBetween(op("ann"), "kiosk-1")
		if _, err := ann.CloseSession(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		w.reaches(s.ID, client.Closed)
		return s.ID
	}
	old := over()
	clock.move(defaultLongest + time.Second)
	recent := over()
	clock.move(defaultLongest - time.Minute)
	w.restart()
	ann = w.c.Client(op("ann"))
	heard := make(chan string, 64)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- w.c.Client(User{Name: "relay-1", Role: RelayRole}).Revocations(ctx, func(id string) error {
			heard <- id
			return nil
		})
	}()
	if got := <-heard; got != recent {
		t.Errorf("first heard of %s, want %s (%s is long over)", got, recent, old)
	}
	next := over()
	if got := <-heard; got != next {
		t.Errorf("then heard of %s, want %s", got, next)
	}
	if len(heard) != 0 {
		t.Errorf("heard of %s as well", <-heard)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	// What is over for as long as a session lasts is told to nobody, nor kept.
	clock.move(defaultLongest + time.Second)
	latest := over()
	err := w.admin.Revocations(t.Context(), func(id string) error {
		heard <- id
		return io.EOF
	})
	if got := <-heard; got != latest || !errors.Is(err, io.EOF) {
		t.Errorf("later heard of %s first, want %s, %v", got, latest, err)
	}
	w.c.mu.Lock()
	w.c.revoked.expire(clock.now())
	if n := len(w.c.revoked.list); n != 1 {
		t.Errorf("%d are kept", n)
	}
	w.c.mu.Unlock()
	for _, u := range []User{op("ann"), {Name: "boss", Role: Approver}} {
		if err := w.c.Client(u).Revocations(t.Context(), func(string) error { return nil }); code(err) != "forbidden" {
			t.Errorf("%s follows: %v", u.Role, err)
		}
	}
	stop := errors.New("enough")
	if err := w.admin.Revocations(t.Context(), func(string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an admin's ended with %v", err)
	}
	// A relay's token is good for nothing else.
	secret, err := w.admin.CreateToken(t.Context(), &client.TokenRequest{User: "relay-1", Role: string(RelayRole)})
	if err != nil {
		t.Fatal(err)
	}
	relay := client.New(w.served(), &client.Config{Token: secret.Secret})
	if err := relay.Revocations(t.Context(), func(string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("by its token: %v", err)
	}
	if _, err := relay.Trust(t.Context()); code(err) != "forbidden" {
		t.Errorf("it reads more: %v", err)
	}
	if _, err := relay.OpenSession(t.Context(), "kiosk-1", &client.OpenRequest{Key: keys.NewPrivateKey().Public()}); code(err) != "forbidden" {
		t.Errorf("it opens: %v", err)
	}
}
