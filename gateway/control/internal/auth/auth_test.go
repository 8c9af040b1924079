package auth

import (
	"errors"
	"testing"

	"github.com/boothwire/boothwire/gateway/control/client"
)

func TestAuthorise(t *testing.T) {
	all := func(r Role) User { return User{Name: "u", Role: r} }
	in := func(r Role, groups ...string) User { return User{Name: "u", Role: r, Groups: groups} }
	for _, tc := range []struct {
		user   User
		req    Request
		policy Policy
		want   string
	}{
		{User{}, Request{Action: View}, Policy{}, "unauthenticated"},
		{all("root"), Request{Action: View}, Policy{}, "unauthenticated"},
		{all(Viewer), Request{Action: View}, Policy{}, ""},
		{all(Viewer), Request{Action: Open}, Policy{}, "forbidden"},
		{all(Viewer), Request{Action: Change}, Policy{}, "forbidden"},
		{all(Operator), Request{Action: Open}, Policy{}, ""},
		{all(Operator), Request{Action: Change}, Policy{}, ""},
		{all(Operator), Request{Action: Override}, Policy{}, "forbidden"},
		{all(Operator), Request{Action: Audit}, Policy{}, "forbidden"},
		{all(Approver), Request{Action: Override}, Policy{}, ""},
		{all(Approver), Request{Action: Audit}, Policy{}, ""},
		{all(Approver), Request{Action: Manage}, Policy{}, "forbidden"},
		{all(Admin), Request{Action: Manage}, Policy{}, ""},
		{all(Admin), Request{Action: "invent"}, Policy{}, ""},
		{all(Approver), Request{Action: "invent"}, Policy{}, "forbidden"},
		{all(Admin), Request{Action: Revoked}, Policy{}, ""},
		{all(Approver), Request{Action: Revoked}, Policy{}, "forbidden"},
		{in(Admin, "north"), Request{Action: Revoked}, Policy{}, "forbidden"},
		{all(Relay), Request{Action: Revoked}, Policy{}, ""},
		{all(Relay), Request{Action: View}, Policy{}, "forbidden"},
		{all(Relay), Request{Action: Open, Device: "d"}, Policy{}, "forbidden"},
		{all(Relay), Request{Action: Manage}, Policy{}, "forbidden"},
		{in(Operator, "north"), Request{Action: Open, Device: "d", Group: "north"}, Policy{}, ""},
		{in(Operator, "north"), Request{Action: Open, Device: "d", Group: "south"}, Policy{}, "not_found"},
		{in(Operator, "north"), Request{Action: Open, Device: "d"}, Policy{}, "not_found"},
		{in(Viewer, "north"), Request{Action: Open, Device: "d", Group: "south"}, Policy{}, "not_found"},
		{in(Admin, "north"), Request{Action: Manage}, Policy{}, "forbidden"},
		{in(Approver, "north"), Request{Action: Audit}, Policy{}, "forbidden"},
		{all(Operator), Request{Action: Open}, Policy{RequireReason: true}, "reason_required"},
		{all(Operator), Request{Action: Open, Reason: "  "}, Policy{RequireReason: true}, "reason_required"},
		{all(Operator), Request{Action: Open, Reason: "x"}, Policy{RequireReason: true, RequireTicket: true}, "ticket_required"},
		{all(Operator), Request{Action: Open, Reason: "x", Ticket: "T-1"}, Policy{RequireReason: true, RequireTicket: true}, ""},
		{all(Operator), Request{Action: Change}, Policy{RequireReason: true, RequireTicket: true}, ""},
	} {
		err := tc.policy.Authorise(tc.user, tc.req)
		var e *client.Error
		got := ""
		if errors.As(err, &e) {
			got = e.Code
		} else if err != nil {
			t.Errorf("%+v: %v is no *client.Error", tc.req, err)
		}
		if got != tc.want {
			t.Errorf("%+v %+v %+v: %q, want %q", tc.user, tc.req, tc.policy, got, tc.want)
		}
	}
}
