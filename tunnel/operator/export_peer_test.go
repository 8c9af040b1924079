package operator_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/agent"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// What is exported is all that another WireGuard needs, and stays when nobody here
// holds it.
func TestExport(t *testing.T) {
	w := newWorld(t, agent.Config{}, echo)
	var stages []signaling.Stage
	p, err := operator.Export(soon(t), w.as("ann", control.Operator), device, nil, func(s client.Step) { stages = append(stages, s.Stage) })
	if err != nil {
		t.Fatal(err)
	}
	if p.Session.State != client.Connected || !slices.Contains(stages, signaling.Ready) || p.Grant.Device != device {
		t.Errorf("exported %+v after %v", p.Session, stages)
	}
	if want := []netip.Addr{p.Grant.Addresses[0], p.Grant.Far.Proof}; !slices.Equal(p.Config.Far.Allowed, want) {
		t.Errorf("it may reach %v, not %v", p.Config.Far.Allowed, want)
	}
	p.Config.Mode = tunnel.Driverless
	other := must(tunnel.Up(soon(t), p.Config))
	defer other.Close()
	conn, err := other.Dial(soon(t), "tcp", netip.AddrPortFrom(p.Grant.Addresses[0], 22).String())
	if err != nil {
		t.Fatal(err)
	}
	if got := talk(t, conn, "hello"); got != "hello" {
		t.Errorf("the service answered %q", got)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	w.wait("the node has none", func() bool { return len(w.node.Sessions()) == 0 })
}

// One that does not come to be leaves nothing at control.
func TestExportFails(t *testing.T) {
	no := errors.New("a customer is here")
	w := newWorld(t, agent.Config{MayOpen: func(context.Context, agent.Session) error { return no }}, echo)
	ann := w.as("ann", control.Operator)
	_, err := operator.Export(soon(t), ann, device, nil, nil)
	if e, ok := errors.AsType[*operator.Error](err); !ok || e.Code != "refused_by_host" {
		t.Errorf("got %v", err)
	}
	_, err = operator.Export(soon(t), ann, "kiosk-9", nil, nil)
	if e, ok := errors.AsType[*operator.Error](err); !ok || e.Code != "not_found" {
		t.Errorf("got %v", err)
	}
	if _, err := operator.Export(soon(t), ann, device, &operator.Config{EndToEnd: true}, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("end to end: %v", err)
	}
	w.wait("no session is left", func() bool {
		for range ann.Sessions(t.Context(), client.Filter{Open: true}) {
			return false
		}
		return true
	})
}

// A control that makes every session end to end has none to export.
func TestExportNeedsANode(t *testing.T) {
	w := newWorldWith(t, &control.Config{Kind: control.KindEndToEnd}, agent.Config{}, echo)
	ann := w.as("ann", control.Operator)
	if p, err := operator.Export(soon(t), ann, device, nil, nil); err == nil {
		t.Errorf("exported %+v", p)
	}
	w.wait("no session is left", func() bool {
		for range ann.Sessions(t.Context(), client.Filter{Open: true}) {
			return false
		}
		return true
	})
}
