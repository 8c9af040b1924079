package nat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func testKeys(t testing.TB, generation uint64, e end) *keys {
	t.Helper()
	k, err := derive(testSecret, generation, e)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestDerive(t *testing.T) {
	seen := make(map[string]bool)
	for _, g := range []uint64{1, 2, 1 << 60} {
		for _, e := range []end{controlling, controlled} {
			k := testKeys(t, g, e)
			if again := testKeys(t, g, e); again.ufrag != k.ufrag || again.pwd != k.pwd {
				t.Error("not the same twice")
			}
			for _, s := range []string{k.ufrag, k.pwd} {
				if seen[s] {
					t.Errorf("%q twice", s)
				}
				seen[s] = true
			}
			if len(k.ufrag) != 16 || len(k.pwd) != 32 {
				t.Errorf("lengths %d and %d", len(k.ufrag), len(k.pwd))
			}
		}
	}
}

// The largest offer fits into what signaling carries.
func TestOfferLargest(t *testing.T) {
	var x exchange
	var list []Candidate
	for i := range candidatesMost + 5 {
		a := fmt.Sprintf("[2001:1db8:1111:2222:3333:4444:5555:%x]:65535", 0x6666+i)
		list = append(list, Candidate{ServerReflexive, netip.MustParseAddrPort(a)})
	}
	now := time.Now()
	x.add(now, list...)
	x.report(now, strings.Repeat(`"`, reportMost))
	x.finish(now)
	x.own.Seq, x.farSeq = 1<<32-1, 1<<32-1
	o := x.next(now.Add(time.Hour))
	sealed, err := o.seal(testKeys(t, 1, controlling))
	if err != nil {
		t.Fatal(err)
	}
	got, candidates, err := openOffer(sealed, testKeys(t, 1, controlling))
	if err != nil || got.Report != o.Report || !got.End || !slices.Equal(candidates, list[:candidatesMost]) {
		t.Errorf("%d bytes: got %+v, %v", len(sealed), got, err)
	}
	for _, k := range []*keys{testKeys(t, 2, controlling), testKeys(t, 1, controlled)} {
		if _, _, err := openOffer(sealed, k); err == nil {
			t.Error("opened with other keys")
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, _, err := openOffer(bad, testKeys(t, 1, controlling)); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
	}
}

func TestParseOffer(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"seq":1,"candidates":[]}`: true,
		`{"seq":1,"ack":2,"want":true,"candidates":["host 192.0.2.1:1","srflx [2001:db8::1]:2"],"end":true,"report":"r"}`: true,
		`{"seq":0,"candidates":[]}`:                          false,
		`{"seq":-1,"candidates":[]}`:                         false,
		`{"seq":4294967296,"candidates":[]}`:                 false,
		`{"seq":1,"candidates":[],"x":1}`:                    false,
		`{"seq":1,"candidates":[]} {}`:                       false,
		`{"seq":1,"candidates":["prflx 192.0.2.1:1"]}`:       false,
		`{"seq":1,"candidates":["host 192.0.2.1:0"]}`:        false,
		`{"seq":1,"candidates":["host 192.0.2.1:01"]}`:       false,
		`{"seq":1,"candidates":["host [fe80::1%eth0]:1"]}`:   false,
		`{"seq":1,"candidates":["host [::ffff:1.2.3.4]:1"]}`: false,
		`{"seq":1,"candidates":["host a.example:1"]}`:        false,
		`{"seq":1,"candidates":[],"report":"a\nb"}`:          false,
		`{"seq":1,"candidates":[],"report":"\u00e9"}`:        false,
		`null`: false,
		``:     false,
	} {
		if _, _, err := parseOffer([]byte(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	long := `{"seq":1,"candidates":[` + strings.Repeat(`"host 192.0.2.1:1",`, candidatesMost) + `"host 192.0.2.1:1"]}`
	if _, _, err := parseOffer([]byte(long)); err == nil {
		t.Error("too many candidates")
	}
}

func TestWorth(t *testing.T) {
	refuse := []netip.Prefix{netip.MustParsePrefix("10.166.0.0/16")}
	for text, want := range map[string][2]bool{ // bound to loopback: no, yes
		"192.0.2.1:1": {true, true}, "10.0.0.1:1": {true, true}, "[fd00::1]:1": {true, true},
		"10.166.0.1:1": {}, "127.0.0.1:1": {false, true}, "[::1]:1": {false, true},
		"169.254.169.254:1": {}, "[fe80::1]:1": {}, "224.0.0.1:1": {}, "[ff02::1]:1": {},
		"0.0.0.0:1": {}, "[::]:1": {}, "255.255.255.255:1": {},
		"0.1.2.3:1": {}, "240.0.0.1:1": {}, "[64:ff9b::7f00:1]:1": {}, "[64:ff9b:1::a00:1]:1": {},
	} {
		c := Candidate{Host, netip.MustParseAddrPort(text)}
		if got := [2]bool{c.worth(refuse, false), c.worth(refuse, true)}; got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// Two exchanges end knowing everything, and then quiet, whatever is lost.
func TestExchange(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		loss := r.Float64() * 0.7
		type message struct {
			at   time.Duration
			to   int
			text []byte
		}
		var air []message
		var ends [2]exchange
		epoch := time.Unix(0, 0)
		added := [2]int{}
		sent := 0
		for tick := range 12000 { // of 10 ms
			elapsed := time.Duration(tick) * 10 * time.Millisecond
			now := epoch.Add(elapsed)
			for i := range ends {
				x := &ends[i]
				if tick == 0 || added[i] < 5 && r.IntN(20) == 0 {
					added[i]++
					x.add(now, Candidate{Host, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), uint16(added[i]))})
				}
				if added[i] == 5 {
					x.finish(now)
				}
				if o := x.next(now); o != nil {
					text, _ := json.Marshal(o)
					for range 1 + r.IntN(2) {
						if r.Float64() >= loss {
							air = append(air, message{elapsed + time.Duration(r.IntN(400))*time.Millisecond, 1 - i, text})
						}
					}
					sent++
				}
			}
			air = slices.DeleteFunc(air, func(m message) bool {
				if m.at > elapsed {
					return false
				}
				o, list, err := parseOffer(m.text)
				if err != nil {
					t.Fatal(err)
				}
				ends[m.to].receive(now, o, list)
				return true
			})
		}
		for i := range ends {
			if x := &ends[i]; len(x.far) != 5 || !x.farEnd || !x.at.IsZero() {
				t.Fatalf("seed %d, loss %.2f, end %d after 2 minutes: %d candidates, end %v, next send %v", seed, loss, i, len(x.far), x.farEnd, x.at)
			}
		}
		if sent > 150 {
			t.Errorf("seed %d, loss %.2f: %d messages", seed, loss, sent)
		}
	}
}

func FuzzOpenOffer(f *testing.F) {
	k := testKeys(f, 1, controlling)
	o := offer{Seq: 1, Candidates: []string{"host 192.0.2.1:1"}}
	sealed, err := o.seal(k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:20])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := openOffer(b, k); err == nil {
			if g, ok := generationOf(b); !ok || g != 1 {
				t.Error("of another generation")
			}
		}
	})
}

func FuzzParseOffer(f *testing.F) {
	f.Add([]byte(`{"seq":1,"candidates":[]}`))
	f.Add([]byte(`{"seq":7,"ack":2,"want":true,"candidates":["host 192.0.2.1:1","srflx [2001:db8::1]:2"],"end":true,"report":"a\\\"b"}`))
	f.Add([]byte(`{"seq":1,"candidates":["relay 192.0.2.1:65535"]}`))
	k := testKeys(f, 1, controlling)
	f.Fuzz(func(t *testing.T, b []byte) {
		o, list, err := parseOffer(b)
		if err != nil {
			return
		}
		for i, c := range list {
			if c.String() != o.Candidates[i] {
				t.Errorf("%q is %q", o.Candidates[i], c)
			}
		}
		if sealed, err := o.seal(k); err != nil || len(sealed) > offerMost {
			t.Errorf("what was read cannot be sent: %v", err)
		}
	})
}
