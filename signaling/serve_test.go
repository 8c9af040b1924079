package signaling_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect is a Handler that does what an agent does, without a tunnel.
func (a *authority) connect(ctx context.Context, s *signaling.Session) error {
	if s.Grant == nil {
		var err error
		if s.Grant, err = s.Request(ctx); err != nil {
			return err
		}
	}
	if _, _, err := a.device.Accept(s.Grant); err != nil {
		return err
	}
	for _, st := range []signaling.Stage{signaling.Keyed, signaling.Socket, signaling.Handshake, signaling.Proved, signaling.Ready} {
		s.Reach(st)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestUpAndDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		d := newDesk(a)
		var cause error
		stop := d.serve(func(ctx context.Context, s *signaling.Session) error {
			if s.ID != "s1" || s.Server != "wg-bj-01" {
				t.Errorf("session %q at %q", s.ID, s.Server)
			}
			err := a.connect(ctx, s)
			cause = context.Cause(ctx)
			return err
		}, nil)
		synctest.Wait()
		doc := kind(keys.TypeStatus, d.take())
		if len(doc) != 1 || doc[0].VPN != signaling.Disconnected || doc[0].Outer.Prekeys == nil || doc[0].Next != 15*time.Minute || doc[0].Roots != 1 {
			t.Fatalf("first documents: %+v", doc)
		}
		up := signaling.Command{ID: "c1", Action: signaling.Up, Server: "hint", Token: a.grant("s1", 1, a.prekey(0))}
		d.send(up)
		synctest.Wait()
		r := kind(keys.TypeReply, d.take())
		if len(r) != 1 || r[0].Re != "c1" || r[0].VPN != signaling.Connected || r[0].Session != "s1" || r[0].Outer.IP.String() != "10.166.0.5" {
			t.Fatalf("replies: %+v", r)
		}
		var got []signaling.Stage
		for _, s := range r[0].Ladder {
			got = append(got, s.Stage)
		}
		want := []signaling.Stage{"received", "authorised", "keyed", "socket", "handshake", "proved", "ready"}
		if !slices.Equal(got, want) {
			t.Errorf("ladder %v, want %v", got, want)
		}
		time.Sleep(time.Second)
		d.take()
		d.send(signaling.Command{ID: "c2", Action: signaling.Down, Token: a.down("s1")})
		time.Sleep(time.Second)
		all := d.take()
		r = kind(keys.TypeReply, all)
		if n := len(r); n == 0 || r[n-1].VPN != signaling.Disconnected || r[n-1].Re != "c2" || r[n-1].Code != "" || r[n-1].IP.IsValid() {
			t.Fatalf("replies to the down: %+v", r)
		}
		var e *signaling.Error
		if !errors.As(cause, &e) || e.Reason != signaling.ReasonDown {
			t.Errorf("cause %v", cause)
		}
		if doc := kind(keys.TypeStatus, all); doc[len(doc)-1].VPN != signaling.Disconnected {
			t.Errorf("document %+v", doc[len(doc)-1])
		}
		// Its up, come again, opens nothing; the prekey is gone as well.
		d.send(up)
		time.Sleep(time.Second)
		r = kind(keys.TypeReply, d.take())
		if len(r) != 1 || r[0].VPN != signaling.Disconnected || r[0].Session != "s1" || r[0].Re != "c1" {
			t.Errorf("reply to the repeated up: %+v", r)
		}
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}
