package control

import (
	"testing"

	"github.com/boothwire/boothwire/gateway/control/client"
)

// A session is found in the audit by its ticket and by its reason.
func TestPurpose(t *testing.T) {
	for want, r := range map[string]client.OpenRequest{
		"": {}, "4711": {Ticket: "4711"}, "cannot print": {Reason: "cannot print"}, "4711: cannot print": {Ticket: "4711", Reason: "cannot print"},
	} {
		if got := purpose(&r); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
}
