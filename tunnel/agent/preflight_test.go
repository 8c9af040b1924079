package agent_test

import (
	"slices"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel/agent"
	"github.com/boothwire/boothwire/tunnel/preflight"
)

// document is the latest, nil before the first.
func (r *rig) document() *signaling.Status {
	r.statuses.add(signaling.Message{Payload: r.broker.Retained("iot/kiosk-1/status")})
	return r.statuses.find(func(st *signaling.Status) bool { return st.Next > 0 })
}

// said is what the document says of a check.
func (r *rig) said(name string) (c signaling.Check) {
	if doc := r.document(); doc != nil {
		if i := slices.IndexFunc(doc.Checks, func(c signaling.Check) bool { return c.Name == name }); i >= 0 {
			c = doc.Checks[i]
		}
	}
	return c
}

// The host is checked at the start and now and then; control is told at once when it
// finds something else, and not while a session is open.
func TestPreflight(t *testing.T) {
	r := newRig(t, &agent.Config{Preflight: 20 * time.Millisecond})
	r.wait("that SSH listens", func() bool {
		return r.said("ssh") == signaling.Check{Name: "ssh", State: "ok", Code: "listening", Detail: r.service.Addr().String()}
	})
	if c := r.said("driver"); c.State != "ok" || c.Code != "none_needed" {
		t.Errorf("driver: %+v", c)
	}
	if got := r.agent.Status().Preflight; len(got) != 6 || got[0].Check != "ssh" {
		t.Errorf("status: %+v", got)
	}
	r.service.Close()
	r.wait("that nothing listens", func() bool { return r.said("ssh").State == string(preflight.Fail) })
}

// What a check costs is not the customer's nor the engineer's: none is made while a
// session is open, and one soon after it.
func TestNoPreflightInSession(t *testing.T) {
	r := newRig(t, &agent.Config{Preflight: 20 * time.Millisecond})
	r.wait("that SSH listens", func() bool { return r.said("ssh").State == "ok" })
	r.send(r.grant("s1", 1, keys.NewPrivateKey().Public()))
	r.waitState(signaling.Connected)
	time.Sleep(time.Second / 5) // one that began before is over
	r.service.Close()
	time.Sleep(time.Second / 5)
	if c := r.said("ssh"); c.State != "ok" {
		t.Errorf("checked in a session: %+v", c)
	}
	r.down("s1")
	r.wait("that nothing listens", func() bool { return r.said("ssh").State == string(preflight.Fail) })
}

func TestNoPreflight(t *testing.T) {
	r := newRig(t, &agent.Config{Preflight: -1})
	r.wait("a document", func() bool { return r.document() != nil })
	if got := r.agent.Status().Preflight; got != nil {
		t.Errorf("checked all the same: %+v", got)
	}
}
