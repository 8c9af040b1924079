package signaling_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// TestBare plays a back end that knows the minimal messages only.
func TestBare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		var id string
		stop := d.serve(func(ctx context.Context, s *signaling.Session) error {
			if s.ID != "" || s.Server != "wg-bj-01" {
				t.Errorf("session %q at %q", s.ID, s.Server)
			}
			err := a.connect(ctx, s)
			id = s.ID
			return err
		}, &signaling.Config{Bare: []string{"wg-bj-01"}})
		synctest.Wait()
		d.take()
		d.broker.Publish("iot/kiosk-1/cmd", []byte(`{"action":"VPN_CONNECT","server":"wg-bj-01"}`), false)
		time.Sleep(12 * time.Second)
		var request []byte
		n := 0
		for _, s := range d.take() {
			if s.Request != nil {
				request = s.Request
				n++
			}
		}
		if n != 3 {
			t.Fatalf("%d requests in 12 s, want 3", n)
		}
		st := must(keys.VerifyStatement(keys.TypeRequest, request, "", "kiosk-1", a.device.Key()))
		var q struct {
			Server, Session, Nonce string
			Prekey                 keys.PublicKey
		}
		if err := json.Unmarshal(st.Payload, &q); err != nil || q.Server != "wg-bj-01" || q.Session != "" {
			t.Fatalf("request %s, %v", st.Payload, err)
		}
		d.send(signaling.Command{ID: "c1", Action: signaling.Up, Token: a.grant("s7", 1, q.Prekey, func(g *keys.Grant) { g.Re = q.Nonce })})
		time.Sleep(time.Second)
		got := kind(keys.TypeStatus, d.take())
		if n := len(got); n == 0 || got[n-1].Outer.VPN != signaling.Connected || got[n-1].Outer.IP.String() != "10.166.0.5" {
			t.Fatalf("documents %+v", got)
		}
		d.broker.Publish("iot/kiosk-1/cmd", []byte(`{"action":"vpn_down"}`), false)
		time.Sleep(time.Second)
		got = kind(keys.TypeStatus, d.take())
		if n := len(got); n == 0 || got[n-1].Outer.VPN != signaling.Disconnected || id != "s7" {
			t.Errorf("documents %+v, session %q", got, id)
		}
		stop()
	})
}

// TestSession uses what a Handler has: later grants, offers, a request that is
// given up, reports.
func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		var revs []int
		var heard []string
		var after *signaling.Session
		stop := d.serve(func(ctx context.Context, s *signaling.Session) error {
			after = s
			if _, _, err := a.device.Accept(s.Grant); err != nil {
				return err
			}
			if err := s.SendOffer(ctx, []byte("candidates")); err != nil {
				t.Error(err)
			}
			if err := s.SendOffer(ctx, make([]byte, 2801)); code(err) != "oversized" {
				t.Errorf("a long offer: %v", err)
			}
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if _, err := s.Request(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a request that was given up: %v", err)
			}
			s.Report(&signaling.Status{VPN: signaling.Degraded, Why: strings.Repeat("界", 100), Path: "relay", RTT: time.Millisecond})
			for range 2 {
				b, err := s.ReceiveOffer(ctx)
				if err != nil {
					return err
				}
				heard = append(heard, string(b))
			}
			for g := range s.Grants(ctx) {
				grant, _, err := a.device.Accept(g)
				if err != nil {
					t.Error(err)
					continue
				}
				revs = append(revs, grant.Rev)
			}
			return context.Cause(ctx)
		}, nil)
		synctest.Wait()
		prekey := a.prekey(0)
		d.send(signaling.Command{ID: "c1", Action: signaling.Up, Token: a.grant("s1", 1, prekey)})
		time.Sleep(2 * time.Second)
		d.send(signaling.Command{Action: signaling.Offer, Session: "s1", Offer: []byte("one")})
		d.send(signaling.Command{Action: signaling.Offer, Session: "s2", Offer: []byte("not mine")})
		d.send(signaling.Command{Action: signaling.Offer, Session: "s1", Offer: []byte("two")})
		d.send(signaling.Command{ID: "c2", Action: signaling.Up, Token: a.grant("s1", 2, prekey)})
		d.send(signaling.Command{ID: "c3", Action: signaling.Up, Token: a.grant("s1", 3, prekey)})
		time.Sleep(time.Second)
		all := d.take()
		offers, requests, docs := 0, 0, kind(keys.TypeStatus, all)
		time.Sleep(time.Minute)
		for _, s := range append(all, d.take()...) {
			if s.Request != nil {
				requests++
			}
			if string(s.Offer) == "candidates" && s.Session == "s1" {
				offers++
			}
		}
		if requests != 1 {
			t.Errorf("a request that was given up was published %d times", requests)
		}
		if doc := docs[len(docs)-1]; offers != 1 || doc.VPN != signaling.Degraded || doc.Path != "relay" || doc.Rev != 3 || len(doc.Why) != 198 {
			t.Errorf("%d offers, document %+v", offers, doc.Status)
		}
		d.send(signaling.Command{ID: "c4", Action: signaling.Down, Token: a.down("s1")})
		synctest.Wait()
		if !slices.Equal(revs, []int{2, 3}) || !slices.Equal(heard, []string{"one", "two"}) {
			t.Errorf("revs %v, offers %q", revs, heard)
		}
		after.Reach(signaling.Ready)
		if err := after.SendOffer(context.Background(), []byte("x")); code(err) != "closed" {
			t.Errorf("an offer after the end: %v", err)
		}
		if _, err := after.Request(context.Background()); code(err) != "closed" {
			t.Errorf("a request after the end: %v", err)
		}
		if _, err := after.ReceiveOffer(context.Background()); code(err) != "down" {
			t.Errorf("waiting for an offer after the end: %v", err)
		}
		stop()
		after.Reach(signaling.Ready)
		if err := after.SendOffer(context.Background(), []byte("x")); code(err) != "closed" {
			t.Errorf("an offer after Serve: %v", err)
		}
	})
}
