package signaling_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// TestRefused sends what a hostile broker might, and checks that each is
// refused with its own code in a signed reply, told once, and changes nothing.
func TestRefused(t *testing.T) {
	up := func(token []byte) []byte {
		return command(signaling.Command{ID: "c1", Action: signaling.Up, Token: token})
	}
	for _, c := range []struct {
		name string
		code string
		msg  func(a *authority) []byte
	}{
		{"unsigned", "unsigned", func(*authority) []byte { return []byte(`{"action":"vpn_up","server":"wg-bj-01"}`) }},
		{"unsigned down", "unsigned", func(*authority) []byte { return []byte(`{"action":"VPN_DISCONNECT"}`) }},
		{"forged", "forged", func(a *authority) []byte {
			token := a.grant("s1", 1, a.prekey(0))
			part := strings.Split(string(token), ".")
			other := strings.Split(string(a.grant("s2", 1, a.prekey(0))), ".")
			return up([]byte(part[0] + "." + part[1] + "." + other[2]))
		}},
		{"another deployment's control", "unknown_signer", func(a *authority) []byte {
			b := newAuthority(a.t)
			return up(b.grant("s1", 1, a.prekey(0)))
		}},
		{"wrong deployment", "wrong_issuer", func(a *authority) []byte {
			online := must(keys.OpenIdentity(keys.NewMemory(), "online"))
			rec := must(keys.SignRecord(a.root, keys.Record{Issuer: "other", ID: "s", Key: online.Key(), Scope: []string{keys.TypeGrant}, Epoch: 1}))
			a.signer = must(keys.NewSigner(online, rec))
			return up(a.grant("s1", 1, a.prekey(0)))
		}},
		{"wrong device", "wrong_device", func(a *authority) []byte {
			return up(a.grant("s1", 1, a.prekey(0), func(g *keys.Grant) { g.Device = "kiosk-2" }))
		}},
		{"wrong kind", "wrong_kind", func(a *authority) []byte { return up(a.down("s1")) }},
		{"a grant as a down", "wrong_kind", func(a *authority) []byte {
			return command(signaling.Command{Action: signaling.Down, Token: a.grant("s1", 1, a.prekey(0))})
		}},
		{"truncated", "truncated", func(a *authority) []byte { b := up(a.grant("s1", 1, a.prekey(0))); return b[:len(b)/2] }},
		{"truncated token", "forged", func(a *authority) []byte {
			token := a.grant("s1", 1, a.prekey(0))
			return up(append(token[:len(token)-4], "AAAA"...))
		}},
		{"oversized", "oversized", func(*authority) []byte { return bytes.Repeat([]byte{'{'}, 1<<20) }},
		{"not JSON", "malformed", func(*authority) []byte { return []byte("hello") }},
		{"deep", "too_deep", func(*authority) []byte {
			return []byte(strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000))
		}},
		{"duplicate keys", "duplicate_key", func(*authority) []byte { return []byte(`{"action":"vpn_down","action":"vpn_up"}`) }},
		{"unknown action", "unsupported", func(*authority) []byte { return []byte(`{"action":"format_disk"}`) }},
		{"wrong roots", "malformed", func(*authority) []byte {
			return command(signaling.Command{Action: signaling.Roots, Token: []byte("x")})
		}},
		{"ask for another device", "wrong_device", func(a *authority) []byte {
			return command(signaling.Command{Action: signaling.Ask, Token: a.sign(keys.TypeAsk, map[string]string{"session": "s1", "device": "kiosk-2", "nonce": "n"})})
		}},
		{"unknown crit", "unknown_crit", func(a *authority) []byte {
			return up(a.grant("s1", 1, a.prekey(0), func(g *keys.Grant) { g.Crit = []string{"quantum"} }))
		}},
		{"an offer for no session", "closed", func(*authority) []byte { return []byte(`{"action":"offer","offer":"aGk"}`) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAuthority(t)
				d := newDesk(a)
				var notices []signaling.Notice
				stop := d.serve(func(context.Context, *signaling.Session) error {
					t.Error("the handler was called")
					return nil
				}, &signaling.Config{Observe: func(n signaling.Notice) {
					if n.Kind == signaling.NoticeRefused {
						notices = append(notices, n)
					}
				}})
				synctest.Wait()
				d.take()
				d.broker.Publish("iot/kiosk-1/cmd", c.msg(a), false)
				time.Sleep(2 * time.Minute)
				got := d.take()
				if len(got) != 1 || got[0].Kind != keys.TypeReply || got[0].Code != c.code || got[0].Count != 1 || got[0].VPN != signaling.Disconnected {
					t.Errorf("published %+v, want one refusal with %s", got, c.code)
					for _, s := range got {
						t.Logf("%+v", s)
					}
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				if len(notices) != 1 || notices[0].Code != c.code || notices[0].Count != 1 || notices[0].Err == nil {
					t.Errorf("notices %+v", notices)
				}
			})
		})
	}
}

// TestHandlerRefuses: what only Accept can see is refused with its code too.
func TestHandlerRefuses(t *testing.T) {
	for _, c := range []struct {
		name, code string
		grant      func(a *authority) []byte
	}{
		{"prekey of nobody", "unknown_prekey", func(a *authority) []byte { return a.grant("s2", 1, keys.NewPrivateKey().Public()) }},
		{"prekey of another boot", "wrong_boot", func(a *authority) []byte {
			return a.grant("s2", 1, a.prekey(1), func(g *keys.Grant) { g.Boot = "b" })
		}},
		{"prekey of another session", "used_prekey", func(a *authority) []byte {
			k := a.prekey(2)
			if _, _, err := a.device.Accept(a.grant("s1", 1, k)); err != nil {
				a.t.Fatal(err)
			}
			return a.grant("s2", 1, k)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAuthority(t)
				d := newDesk(a)
				stop := d.serve(a.connect, nil)
				synctest.Wait()
				d.take()
				d.send(signaling.Command{ID: "c1", Action: signaling.Up, Token: c.grant(a)})
				time.Sleep(time.Second)
				r := kind(keys.TypeReply, d.take())
				if len(r) != 1 || r[0].Count != 1 || r[0].VPN != signaling.Disconnected || r[0].Code != c.code || r[0].Re != "c1" || r[0].Session != "s2" {
					t.Fatalf("replies %+v", r)
				}
				// Control asks for a fresh prekey and sends the same session again.
				d.send(signaling.Command{ID: "c2", Action: signaling.Ask, Token: a.sign(keys.TypeAsk, map[string]string{"session": "s2", "device": "kiosk-1", "nonce": "n1"})})
				synctest.Wait()
				got := d.take()
				if len(got) != 1 || got[0].Answer == nil || got[0].Re != "c2" {
					t.Fatalf("answer %+v", got)
				}
				st := must(keys.VerifyStatement(keys.TypeAnswer, got[0].Answer, "", "kiosk-1", a.device.Key()))
				var answer struct {
					Prekey keys.PublicKey `json:"prekey"`
				}
				if err := json.Unmarshal(st.Payload, &answer); err != nil {
					t.Fatal(err)
				}
				d.send(signaling.Command{ID: "c3", Action: signaling.Up, Token: a.grant("s2", 2, answer.Prekey)})
				time.Sleep(time.Second)
				r = kind(keys.TypeReply, d.take())
				if n := len(r); n == 0 || r[n-1].VPN != signaling.Connected || r[n-1].Re != "c3" {
					t.Errorf("replies %+v", r)
				}
				stop()
			})
		})
	}
}

// TestRetained: a command that a broker kept is not obeyed, however it is
// signed.
func TestRetained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		d.broker.Publish("iot/kiosk-1/cmd", command(signaling.Command{Action: signaling.Up, Token: a.grant("s1", 1, a.prekey(0))}), true)
		stop := d.serve(func(context.Context, *signaling.Session) error { t.Error("obeyed"); return nil }, nil)
		synctest.Wait()
		// The ride was connected before anybody listened, so it came to nobody;
		// after a reconnect it comes to Serve.
		d.broker.Online("kiosk-1", false)
		d.broker.Online("kiosk-1", true)
		time.Sleep(2 * time.Minute)
		r := kind(keys.TypeReply, d.take())
		if len(r) != 1 || r[0].Code != "retained" {
			t.Errorf("replies %+v", r)
		}
		stop()
	})
}

// TestFlood: a thousand commands at once are refused together, and the device
// still serves.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		refused := 0
		stop := d.serve(a.connect, &signaling.Config{Observe: func(n signaling.Notice) { refused += n.Count }})
		synctest.Wait()
		d.take()
		for i := range 1000 {
			d.broker.Publish("iot/kiosk-1/cmd", fmt.Appendf(nil, `{"id":"c%d","action":"vpn_up","server":"x"}`, i), false)
		}
		time.Sleep(3 * time.Second)
		d.send(signaling.Command{ID: "up", Action: signaling.Up, Token: a.grant("s1", 1, a.prekey(0))})
		time.Sleep(2 * time.Minute)
		replies, total := kind(keys.TypeReply, d.take()), 0
		if len(replies) > 10 {
			t.Errorf("%d replies to a flood", len(replies))
		}
		connected := false
		for _, r := range replies {
			total += r.Count
			connected = connected || r.Re == "up" && r.VPN == signaling.Connected
		}
		stop()
		if total != 1000 || refused != 1000 || !connected {
			t.Errorf("%d refusals told to control, %d to the host, connected %v", total, refused, connected)
		}
	})
}

// TestAnothersMessage: a transport that mixes devices up wakes nobody.
func TestAnothersMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		line := &road{open: true}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- signaling.Serve(ctx, line, a.device, func(context.Context, *signaling.Session) error { t.Error("woken"); return nil }, nil)
		}()
		synctest.Wait()
		up := command(signaling.Command{Action: signaling.Up, Token: a.grant("s1", 1, a.prekey(0))})
		line.sink.Deliver(signaling.Message{Device: "kiosk-2", Payload: up})
		time.Sleep(time.Second)
		cancel()
		<-done
	})
}
