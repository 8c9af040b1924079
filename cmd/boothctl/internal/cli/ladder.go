package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// climb shows each step of a session's ladder as it is reached, on stderr, and
// returns when the session is ready or has failed.
func (a *app) climb(ctx context.Context, s *operator.Session) error {
	began := time.Now()
	for step, err := range s.Ladder(ctx) {
		if err != nil {
			return err
		}
		a.step(step)
	}
	if err := s.Ready(ctx); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "%9s  reachable\n", time.Since(began).Round(time.Millisecond))
	return nil
}

// step is one line of the ladder: who, when on his clock, what.
func (a *app) step(s client.Step) {
	mark := "  "
	if s.Code != "" {
		mark = "! "
	}
	fmt.Fprintf(a.err, "%9s  %s%-10s %s %s\n", s.After.Duration().Round(time.Millisecond), mark, s.Stage, s.By, s.Code)
}

// hints say what to do about a code.
var hints = map[string]string{
	"busy":             "another session holds the device: boothctl sessions --device DEVICE",
	"device_silent":    "the device did not answer: is it online? boothctl devices show DEVICE",
	"offline":          "the device has not been heard of: boothctl devices show DEVICE",
	"not_registered":   "register its key first: boothctl devices add ID KEY",
	"node_unreachable": "the node does not follow control: boothctl nodes",
	"no_node":          "no node follows control: boothctl nodes",
	"forbidden":        "your role or groups do not allow it",
	"refused_by_host":  "the kiosk's own software said no",
	"port_not_allowed": "the device's configuration does not allow this port",
	"node_not_allowed": "the device's configuration does not allow this node",
	"unauthorized":     "the token is wrong or has expired",
}

// explain adds to an error what can be done about it.
func explain(err error) string {
	text := clean(err.Error())
	code := ""
	var s *operator.Error
	var c *client.Error
	switch {
	case errors.As(err, &s):
		code = s.Code
	case errors.As(err, &c):
		code = c.Code
		for _, l := range c.Lines {
			text += fmt.Sprintf("\n  line %d: %s: %s", l.Line, l.Code, clean(l.Text))
		}
		for _, f := range c.Fields {
			text += fmt.Sprintf("\n  %s: %s", f.Field, clean(f.Text))
		}
	case errors.Is(err, context.Canceled):
		return "interrupted"
	}
	if hint := hints[code]; hint != "" && !strings.Contains(text, hint) {
		text += "\n  " + hint
	}
	return text
}
