package cli

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// hints say what to do about a code.
var hints = map[string]string{
	"busy":             "another session holds the device: boothctl sessions --device DEVICE",
	"closed":           "the session is over: open another",
	"device_silent":    "the device did not answer: is it online? boothctl devices show DEVICE",
	"expired":          "its time is over; --for asks for more, boothctl extend prolongs an open one",
	"forbidden":        "your role or device groups do not allow it",
	"full":             "so many engineers are in it that no more fit",
	"nodes_full":       "every node holds as many sessions as it takes: boothctl nodes",
	"lead_lost":        "control passed to another process in the middle of this: boothctl sessions shows what came of it",
	"no_database":      "control's database is away; open sessions go on",
	"no_lead":          "no control decides at the moment: try again",
	"no_prekey":        "the device did not answer: is it online? boothctl devices show DEVICE",
	"no_proof":         "the device was woken, but its packets do not reach the node: is UDP blocked there?",
	"node_not_allowed": "the device's configuration does not allow this node",
	"node_refused":     "the node's log says more; boothctl audit --session SESSION",
	"node_unreachable": "is a node connected? boothctl nodes",
	"not_registered":   "register its key first: boothctl devices add ID KEY",
	"port_not_allowed": "the device's configuration does not allow this port",
	"reason_required":  "this deployment wants --reason",
	"rebooted":         "the device or its agent was started anew: open another session",
	"refused_by_host":  "the kiosk's own software said no",
	"removed":          "somebody else removed you from the session",
	"ticket_required":  "this deployment wants --ticket",
	"unauthenticated":  "BOOTHWIRE_TOKEN is wrong, has expired or was removed",
	"unknown_node":     "boothctl nodes lists those that there are",
}

// A failure is an error as --json shows it.
type failure struct {
	Error  string            `json:"error"`
	Code   string            `json:"code,omitempty"`
	Hint   string            `json:"hint,omitempty"`
	Lines  []client.BadLine  `json:"lines,omitempty"`
	Fields []client.BadField `json:"fields,omitempty"`
}

// understand adds to an error what can be done about it.
func understand(err error) failure {
	f := failure{Error: err.Error()}
	if e, ok := errors.AsType[*operator.Error](err); ok {
		f.Code = e.Code
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		f.Code, f.Lines, f.Fields = e.Code, e.Lines, e.Fields
	}
	f.Hint = hints[f.Code]
	switch {
	case f.Code != "":
	case errors.As(err, new(x509.UnknownAuthorityError)):
		f.Hint = "control's certificate is of no authority that this machine knows: --ca FILE or BOOTHWIRE_CA"
	case errors.Is(err, fs.ErrPermission):
		f.Hint = "an interface needs root (or CAP_NET_ADMIN); boothctl forward and ssh need neither"
	case errors.Is(err, context.Canceled):
		f = failure{Error: "interrupted", Code: "interrupted"}
	case errors.As(err, new(*url.Error)) && errors.As(err, new(*net.OpError)):
		f.Hint = "control is not reached: is --url or BOOTHWIRE_URL right, and does control run?"
	}
	return f
}

// tell prints an error on stderr: text for people, or JSON.
func (a *app) tell(err error) {
	f := understand(err)
	if a.json {
		if b, err := json.Marshal(f); err == nil {
			fmt.Fprintln(a.err, seen(b))
		}
		return
	}
	fmt.Fprintln(a.err, "boothctl:", f)
}

func (f failure) String() string {
	text := oneLine(f.Error)
	for _, l := range f.Lines {
		text += fmt.Sprintf("\n  line %d: %s: %s", l.Line, clean(l.Code), clean(l.Text))
	}
	for _, l := range f.Fields {
		text += fmt.Sprintf("\n  %s: %s", clean(l.Field), clean(l.Text))
	}
	if f.Hint != "" && !strings.Contains(text, f.Hint) {
		text += "\n  " + f.Hint
	}
	return text
}
