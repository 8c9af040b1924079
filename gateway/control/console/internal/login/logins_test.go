package login

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/boothwire/boothwire/gateway/control"
)

// begin is a login of the console's own.
func begin(t *testing.T, s *Logins, u control.User) (*Login, string) {
	t.Helper()
	l, secret, err := s.Begin(t.Context(), u, "test")
	if err != nil {
		t.Fatal(err)
	}
	return l, secret
}

// A login ends when nobody is there, and in any case after its longest time; what it
// holds open ends with it.
func TestLoginsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Idle: time.Hour, Longest: 3 * time.Hour})
		idle, secret := begin(t, s, control.User{Name: "a", Role: control.Viewer})
		busy, _ := begin(t, s, control.User{Name: "b", Role: control.Viewer})
		ctx, cancel := With(t.Context(), idle)
		defer cancel()
		if got, ok := s.Find(secret); !ok || got != idle || From(ctx) != idle {
			t.Fatal("a login is not found")
		}
		for range 7 {
			time.Sleep(20 * time.Minute)
			s.Touch(busy)
		}
		synctest.Wait()
		if idle.Context().Err() == nil || ctx.Err() == nil || s.Len() != 1 {
			t.Error("a login outlasts its user's absence")
		}
		if _, ok := s.Find(secret); ok {
			t.Error("its secret is still good")
		}
		if busy.Context().Err() != nil {
			t.Error("a login ends while its user is there")
		}
		for range 3 {
			time.Sleep(20 * time.Minute)
			s.Touch(busy)
		}
		synctest.Wait()
		if busy.Context().Err() == nil || s.Len() != 0 {
			t.Error("a login lasts for ever")
		}
		s.Close()
	})
}

// A user of whom his provider now says something else has no logins of before.
func TestLoginsOfAChangedUser(t *testing.T) {
	s := New(Config{})
	defer s.Close()
	u := control.User{Name: "a", Role: control.Operator, Groups: []string{"x"}}
	first, _ := begin(t, s, u)
	same, _ := begin(t, s, u)
	other, _ := begin(t, s, control.User{Name: "b", Role: control.Operator})
	if first.Context().Err() != nil {
		t.Error("a second browser ends the login in the first")
	}
	for _, now := range []control.User{{Name: "a", Role: control.Viewer, Groups: []string{"x"}}, {Name: "a", Role: control.Viewer, Groups: []string{"y"}}} {
		l, _ := begin(t, s, now)
		if first.Context().Err() == nil || same.Context().Err() == nil || l.Context().Err() != nil || other.Context().Err() != nil {
			t.Errorf("%+v: the wrong logins went on", now)
		}
		first, same = l, l
	}
}

func TestLoginsAreBounded(t *testing.T) {
	s := New(Config{})
	defer s.Close()
	first, _ := begin(t, s, control.User{Name: "a", Role: control.Viewer})
	for range maxEach {
		begin(t, s, control.User{Name: "a", Role: control.Viewer})
	}
	if first.Context().Err() == nil || s.Len() != maxEach {
		t.Errorf("one user has %d logins", s.Len())
	}
	s.Close()
	if l, secret := begin(t, s, control.User{Name: "a"}); l.Context().Err() == nil {
		t.Error("a login begins after the end")
	} else if _, ok := s.Find(secret); ok {
		t.Error("and is found")
	}
}

// Guesses of one address slow down, those of others do not.
func TestTries(t *testing.T) {
	var tr tries
	now := time.Unix(1e9, 0)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range triesBurst {
		if w := tr.take(a, now); w != 0 {
			t.Fatalf("attempt %d waits %v", i, w)
		}
	}
	if w := tr.take(a, now); w <= 0 || w > triesEvery {
		t.Errorf("the next waits %v", w)
	}
	if w := tr.take(b, now); w != 0 {
		t.Errorf("another address waits %v", w)
	}
	if w := tr.take(a, now.Add(triesEvery)); w != 0 {
		t.Errorf("later it waits %v", w)
	}
	tr.forgive(a)
	if w := tr.take(a, now); w != 0 {
		t.Errorf("after a right password it waits %v", w)
	}
	for i := range maxTriers + 10 {
		tr.take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if len(tr.by) > maxTriers {
		t.Errorf("%d addresses are remembered", len(tr.by))
	}
}

// Who has gone keeps no place among those whose guesses wait.
func TestGuessOfOneWhoHasGone(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.DefaultCost)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDoor(&Local{Hash: string(hash)})
	if err != nil {
		t.Fatal(err)
	}
	open := func(ctx context.Context) error {
		r := httptest.NewRequestWithContext(ctx, "POST", "http://localhost/", nil)
		r.RemoteAddr = "127.0.0.1:5"
		_, err := d.Open(r, "admin", "right")
		return err
	}
	d.turn <- struct{}{} // another's guess is looked at
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := open(gone); !errors.As(err, new(TooMany)) {
		t.Errorf("he gets %v", err)
	}
	<-d.turn
	if err := open(t.Context()); err != nil {
		t.Error(err)
	}
}

// Where the local administrator may sign in, and what counts as private.
func TestWhere(t *testing.T) {
	for _, tt := range []struct {
		remote, host, head string
		here, private, tls bool
	}{
		{"127.0.0.1:5", "127.0.0.1:80", "", true, true, false},
		{"[::1]:5", "localhost:80", "", true, true, false},
		{"[::ffff:127.0.0.1]:5", "[::1]:80", "", true, true, false},
		{"127.0.0.1:5", "evil.example:80", "", true, false, false},
		{"127.0.0.1:5", "evil.example", "", true, true, true},
		{"127.0.0.1:5", "localhost", "X-Forwarded-For", false, true, false},
		{"127.0.0.1:5", "localhost", "Forwarded", false, true, true},
		{"192.0.2.7:5", "127.0.0.1", "", false, false, false},
		{"192.0.2.7:5", "control.example", "", false, true, true},
		{"nonsense", "localhost", "", false, false, false},
	} {
		target := "http://x/"
		if tt.tls {
			target = "https://x/"
		}
		r := httptest.NewRequest("GET", target, nil)
		r.RemoteAddr, r.Host = tt.remote, tt.host
		if tt.head != "" {
			r.Header.Set(tt.head, "192.0.2.9")
		}
		if Here(r) != tt.here || Private(r) != tt.private {
			t.Errorf("%+v: here %v, private %v", tt, Here(r), Private(r))
		}
	}
}

// Over TLS a cookie is bound to its host, and never readable by scripts.
func TestCookies(t *testing.T) {
	sealer, err := NewSealer()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ target, want string }{
		{"https://control.example/", "__Host-boothwire=s; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"http://127.0.0.1/", "boothwire=s; Path=/; HttpOnly; SameSite=Lax"},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", tt.target, nil)
		Set(w, r, "s")
		if got := w.Header().Get("Set-Cookie"); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.target, got, tt.want)
		}
		w = httptest.NewRecorder()
		if err := sealer.SetPending(w, r, Pending{State: "abc", Verifier: "v", Next: "/console/", Until: time.Now()}); err != nil {
			t.Fatal(err)
		}
		made := w.Result().Cookies()[0]
		if strings.Contains(made.Value, "abc") || !made.HttpOnly || made.SameSite != http.SameSiteLaxMode {
			t.Errorf("%s: %v", tt.target, made)
		}
		r.AddCookie(made)
		for range maxEach { // others, one of which has the same cookie
			w = httptest.NewRecorder()
			if d := sealer.TakePending(w, r, random()); d != (Pending{}) || w.Header().Get("Set-Cookie") != "" {
				t.Errorf("%s: %+v came back for another, %v", tt.target, d, w.Header())
			}
		}
		w = httptest.NewRecorder()
		if d := sealer.TakePending(w, r, "abc"); d.State != "abc" || d.Next != "/console/" || w.Result().Cookies()[0].MaxAge >= 0 {
			t.Errorf("%s: %+v came back, %v", tt.target, d, w.Header())
		}
		r = httptest.NewRequest("GET", tt.target, nil)
		r.AddCookie(&http.Cookie{Name: made.Name, Value: made.Value[:len(made.Value)-2] + "xx"})
		if d := sealer.TakePending(httptest.NewRecorder(), r, "abc"); d != (Pending{}) {
			t.Errorf("%s: a forged cookie is taken: %+v", tt.target, d)
		}
	}
}

func TestHashes(t *testing.T) {
	l := &Local{}
	password, err := l.Invent()
	if err != nil || len(password) != 32 || CheckHash(l.Hash) != nil {
		t.Fatalf("%q %q: %v", password, l.Hash, err)
	}
	for _, bad := range []string{"", "secret", "$2a$04$AtGFK8THWlNwxk4e5zo3Dem6Yp97KLbn3.cHCYO6BgEPmSbgv.FuC", "$2a$31$AtGFK8THWlNwxk4e5zo3Dem6Yp97KLbn3.cHCYO6BgEPmSbgv.FuC"} {
		if CheckHash(bad) == nil {
			t.Errorf("%q is taken for a hash", bad)
		}
	}
	if _, err := Hash(""); err == nil {
		t.Error("an empty password has a hash")
	}
	if _, err := Hash(strings.Repeat("x", 73)); err == nil {
		t.Error("a password of which the end would not count has a hash")
	}
}

func TestGranted(t *testing.T) {
	rules := []Rule{
		{"all", control.Viewer, nil}, {"seven", control.Operator, []string{"mall-7"}}, {"eight", control.Operator, []string{"mall-8", "mall-7"}},
		{"boss", control.Admin, nil}, {"anywhere", control.Operator, nil},
	}
	for _, tt := range []struct {
		groups []string
		role   control.Role
		in     string
		ok     bool
	}{
		{nil, "", "", false},
		{[]string{"other"}, "", "", false},
		{[]string{"all"}, control.Viewer, "", true},
		{[]string{"seven", "all"}, control.Operator, "mall-7", true},
		{[]string{"eight", "seven"}, control.Operator, "mall-7 mall-8", true},
		{[]string{"seven", "anywhere"}, control.Operator, "", true},
		{[]string{"boss", "seven"}, control.Admin, "", true},
	} {
		u, ok := granted(rules, tt.groups)
		if u.Role != tt.role || strings.Join(u.Groups, " ") != tt.in || ok != tt.ok {
			t.Errorf("%v: got %+v, %v", tt.groups, u, ok)
		}
	}
}

// How long a login of a provider's lasts that it cannot be asked about: its browser goes
// there again from half of that time on, now and then, and each time counts anew.
func TestLoginsGoThroughTheProviderAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := NewProvider(&OIDC{
			Issuer: "https://id.example.com", ClientID: "c", Redirect: "https://control.example.com" + CallbackPath, MaxAge: 10 * time.Hour,
			Rules: []Rule{{Group: "g", Role: control.Viewer}},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := New(Config{Idle: 24 * time.Hour, Longest: 12 * time.Hour, Provider: p})
		defer s.Close()
		ann, who := control.User{Name: "ann", Role: control.Viewer}, Known{Name: "ann", Subject: "1", Groups: []string{"g"}}
		l, first, err := s.BeginOf(t.Context(), ann, p.Mark(), who, nil)
		if err != nil {
			t.Fatal(err)
		}
		admin, _ := begin(t, s, control.User{Name: "admin", Role: control.Admin})
		time.Sleep(5*time.Hour - time.Minute)
		if s.Renew(l) {
			t.Error("it goes there before half of the time")
		}
		time.Sleep(2 * time.Minute)
		if !s.Renew(l) || s.Renew(l) || s.Renew(admin) {
			t.Error("it goes there not once")
		}
		time.Sleep(31 * time.Minute)
		if !s.Renew(l) {
			t.Error("it does not go there again")
		}
		again, second, err := s.BeginOf(t.Context(), ann, p.Mark(), who, l)
		if err != nil || again != l || l.Context().Err() != nil || second == first || s.Renew(l) {
			t.Fatalf("he who came back has another login: %v", err)
		}
		if got, ok := s.Find(first); !ok || got != l {
			t.Error("what was on its way with the first secret is turned away")
		}
		time.Sleep(overlap)
		if _, ok := s.Find(first); ok {
			t.Error("the first secret is good for ever")
		}
		time.Sleep(9*time.Hour + 50*time.Minute)
		synctest.Wait()
		if l.Context().Err() != nil || admin.Context().Err() == nil {
			t.Error("the wrong one has ended")
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if l.Context().Err() == nil {
			t.Error("it lasts longer than the provider was heard")
		}
		if _, ok := s.Find(second); ok {
			t.Error("its secret is good")
		}
	})
}

// What is sealed by a browser's secret is opened by it, in that login, and by nothing else.
func TestSeal(t *testing.T) {
	a, errA := newSeal("secret", "login")
	b, errB := newSeal("secret", "another login")
	c, errC := newSeal("another secret", "login")
	if err := errors.Join(errA, errB, errC); err != nil {
		t.Fatal(err)
	}
	sealed := a.close("token")
	if a.open(sealed) != "token" || a.close("") != "" {
		t.Error("what was sealed is not opened")
	}
	for what, got := range map[string]string{
		"in another login": b.open(sealed), "by another secret": c.open(sealed), "cut": a.open(sealed[:len(sealed)-2]), "no text": a.open("%"), "nothing": a.open(""),
	} {
		if got != "" {
			t.Errorf("%s: %q", what, got)
		}
	}
}

// shelf keeps logins as control does, and fails when it is told to.
type shelf struct {
	mu     sync.Mutex
	rows   map[string]control.Login
	broken bool
	lapsed bool     // its term goes on, but it does not decide
	later  []string // what is to be forgotten
}

var errBroken = errors.New("broken")

func (k *shelf) breaks(broken bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken = broken
}

func (k *shelf) fails() error {
	if k.broken {
		return errBroken
	}
	return nil
}

func (k *shelf) Term() context.Context { return context.Background() }

func (k *shelf) Decides() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.lapsed
}

func (k *shelf) All(context.Context) (list []control.Login, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Values(k.rows)), k.fails()
}

func (k *shelf) Put(_ context.Context, l control.Login, ended ...string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.fails(); err != nil {
		return err
	}
	k.rows[l.ID] = l
	for _, id := range ended {
		delete(k.rows, id)
	}
	return nil
}

func (k *shelf) Drop(_ context.Context, ids ...string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.fails(); err != nil {
		return err
	}
	for _, id := range ids {
		delete(k.rows, id)
	}
	return nil
}

func (k *shelf) See(string, time.Time) {}

func (k *shelf) Forget(ids ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.later = append(k.later, ids...)
}

func onShelf(t *testing.T) (*Logins, *shelf) {
	k := &shelf{rows: make(map[string]control.Login)}
	s := New(Config{Keeper: func() Keeper { return k }, Recall: func(control.Login) (control.User, bool) { return control.User{}, false }})
	t.Cleanup(s.Close)
	return s, k
}

// A sign-out that could not be written does not look like one the next time either.
func TestSignOutIsOwed(t *testing.T) {
	s, k := onShelf(t)
	_, secret := begin(t, s, control.User{Name: "ann", Role: control.Viewer})
	r := httptest.NewRequest("POST", "https://control.example/console/signout", nil)
	r.AddCookie(&http.Cookie{Name: secure + loginCookie, Value: secret})
	k.breaks(true)
	for i := range 3 {
		if err := s.Leave(r); !errors.Is(err, errBroken) {
			t.Errorf("time %d: %v", i, err)
		}
		if l, err := s.Of(r); l != nil || err != nil {
			t.Errorf("he is in: %v", err)
		}
	}
	k.breaks(false)
	for range 2 {
		if err := s.Leave(r); err != nil || len(k.rows) != 0 {
			t.Errorf("%d rows: %v", len(k.rows), err)
		}
	}
}

// While another may decide nobody comes in by what is remembered here: he may have signed
// out there. What is open goes on, and ends at a sign-out.
func TestNobodyComesInMeanwhile(t *testing.T) {
	s, k := onShelf(t)
	l, secret := begin(t, s, control.User{Name: "ann", Role: control.Viewer})
	r := httptest.NewRequest("GET", "https://control.example/console/", nil)
	r.AddCookie(&http.Cookie{Name: secure + loginCookie, Value: secret})
	for _, lapsed := range []bool{false, true, false} {
		k.mu.Lock()
		k.lapsed = lapsed
		k.mu.Unlock()
		if got, err := s.Of(r); (got == nil) != lapsed || errors.Is(err, ErrNotKept) != lapsed || l.Context().Err() != nil {
			t.Errorf("lapsed %v: %v, %v", lapsed, got, err)
		}
	}
	k.mu.Lock()
	k.lapsed, k.broken = true, true
	k.mu.Unlock()
	if err := s.Leave(r); !errors.Is(err, errBroken) || l.Context().Err() == nil {
		t.Errorf("the sign-out: %v", err)
	}
}

// Whose logins ended for a new one that could not be written does not come back by them.
func TestEndedForNothing(t *testing.T) {
	s, k := onShelf(t)
	old, _ := begin(t, s, control.User{Name: "ann", Role: control.Admin})
	k.breaks(true)
	if _, _, err := s.Begin(t.Context(), control.User{Name: "ann", Role: control.Viewer}, "test"); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	if old.Context().Err() == nil || !slices.Contains(k.later, old.ID) {
		t.Errorf("the admin's login is kept; to be forgotten: %v", k.later)
	}
}
