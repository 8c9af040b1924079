package held

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

var (
	ann    = Who{User: "ann", Login: "l1"}
	annToo = Who{User: "ann", Login: "l2"}
	bob    = Who{User: "bob", Login: "l1"}
)

// flip changes one byte of a code.
func flip(code string, i int) string {
	raw, _ := base64.RawURLEncoding.DecodeString(code)
	raw[i] ^= 1
	return base64.RawURLEncoding.EncodeToString(raw)
}

// Whoever did not ask for the code, or comes with it in another way, is refused; and then
// the code is spent for whom it was made, too.
func TestCodeAttacks(t *testing.T) {
	for _, tt := range []struct {
		name  string
		show  func(code string) string
		who   Who
		p     Protocol
		after time.Duration
		want  string
	}{
		{"as it was made", nil, ann, RDP, 0, ""},
		{"in the last moment", nil, ann, RDP, CodeLife - 1, ""},
		{"late", nil, ann, RDP, CodeLife, codeLate},
		{"very late", nil, ann, RDP, time.Hour, codeLate},
		{"another user", nil, bob, RDP, 0, codeUser},
		{"another login of the user", nil, annToo, RDP, 0, codeLogin},
		{"nobody", nil, Who{}, RDP, 0, codeUser},
		{"another protocol", nil, ann, SSH, 0, codeProtocol},
		{"no protocol", nil, ann, "", 0, codeProtocol},
		{"guessed: the secret's first bit", func(c string) string { return flip(c, nameSize) }, ann, RDP, 0, codeUnknown},
		{"guessed: the secret's last bit", func(c string) string { return flip(c, nameSize+secretSize-1) }, ann, RDP, 0, codeUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Unix(1e9, 0)
			c := newCodes(func() time.Time { return now })
			code := c.issue(bond{ann, "s1", RDP})
			shown := code
			if tt.show != nil {
				shown = tt.show(code)
			}
			now = now.Add(tt.after)
			session, why := c.redeem(shown, tt.who, tt.p)
			if why != tt.want || (session == "s1") != (tt.want == "") {
				t.Errorf("session %q, %q; want %q", session, why, tt.want)
			}
			if _, why := c.redeem(code, ann, RDP); why != codeUnknown {
				t.Errorf("the second use was refused as %q", why)
			}
		})
	}
}

// What is no code finds none, and spends none.
func TestCodeGuesses(t *testing.T) {
	c := newCodes(time.Now)
	code := c.issue(bond{ann, "s1", RDP})
	for _, guess := range []string{
		"", "x", strings.Repeat("A", 43), code + "A", code[:42], code + "=", " " + code, code + "\n", "!" + code[1:],
		strings.Repeat("A", 1<<20), flip(code, 0),
	} {
		if _, why := c.redeem(guess, ann, RDP); why != codeUnknown {
			t.Errorf("%.50q: %q", guess, why)
		}
	}
	if session, why := c.redeem(code, ann, RDP); session != "s1" {
		t.Errorf("the code itself: %q", why)
	}
}

// The end of a session or a login ends its codes.
func TestCodesDropped(t *testing.T) {
	c := newCodes(time.Now)
	s1, s2, other := c.issue(bond{ann, "s1", RDP}), c.issue(bond{ann, "s2", RDP}), c.issue(bond{annToo, "s2", SSH})
	c.drop(func(b bond) bool { return b.session == "s1" })
	if _, why := c.redeem(s1, ann, RDP); why != codeUnknown {
		t.Errorf("after the session: %q", why)
	}
	c.drop(func(b bond) bool { return b.who.Login == "l1" })
	if _, why := c.redeem(s2, ann, RDP); why != codeUnknown {
		t.Errorf("after the login: %q", why)
	}
	if session, why := c.redeem(other, annToo, SSH); session != "s2" {
		t.Errorf("another login's: %q", why)
	}
}

// However many a user asks for, few are kept, and those of others stay.
func TestCodesAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := newCodes(func() time.Time { return now })
	his := c.issue(bond{bob, "s1", RDP})
	var first, latest string
	for i := range 10 * maxCodes {
		now = now.Add(time.Millisecond)
		latest = c.issue(bond{ann, "s1", RDP})
		if i == 0 {
			first = latest
		}
	}
	if n := len(c.open); n != maxCodes+1 {
		t.Errorf("%d codes are kept", n)
	}
	if _, why := c.redeem(first, ann, RDP); why != codeUnknown {
		t.Errorf("the oldest: %q", why)
	}
	for code, who := range map[string]Who{latest: ann, his: bob} {
		if _, why := c.redeem(code, who, RDP); why != "" {
			t.Errorf("of %v: %q", who, why)
		}
	}
	now = now.Add(CodeLife)
	c.issue(bond{bob, "s1", RDP})
	if n := len(c.open); n != 1 {
		t.Errorf("%d codes are kept, late ones among them", n)
	}
}

func FuzzRedeem(f *testing.F) {
	c := newCodes(time.Now)
	f.Add("", "ann", "rdp")
	f.Add(strings.Repeat("A", 43), "ann", "ssh")
	f.Fuzz(func(t *testing.T, code, user, protocol string) {
		if session, why := c.redeem(code, Who{User: user}, Protocol(protocol)); session != "" || why == "" {
			t.Fatalf("%q opened %q", code, session)
		}
	})
}
