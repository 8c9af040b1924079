package signaling

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/boothwire/boothwire/internal/strictjson"
)

// Command is a message to a device. All but Token, and Offer, which is sealed
// end to end, are hints.
type Command struct {
	ID      string // repeated in the reply as "re"; may be empty
	Action  Action
	Server  string // the node that a bare vpn_up asks for
	Session string
	Token   []byte // signed by control; see the package's table
	Offer   []byte // sealed, for the open session
}

// commandWire is a Command as it travels.
type commandWire struct {
	ID      string `json:"id,omitempty"`
	Action  string `json:"action"`
	Server  string `json:"server,omitempty"`
	Session string `json:"session,omitempty"`
	Token   string `json:"token,omitempty"`
	Offer   string `json:"offer,omitempty"`
}

// ParseCommand reads a command strictly: one JSON object of at most MaxCommand
// bytes, no name twice, exact case, nothing after it. Fields that are not
// known are ignored; an action that is not known is refused as unsupported.
// Errors have a method Code() string.
func ParseCommand(b []byte) (*Command, error) {
	c, err := parseCommand(b)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// parseCommand returns the command's id beside an error if it got that far: a
// refusal can say what it refuses.
func parseCommand(b []byte) (*Command, error) {
	c := new(Command)
	if len(b) > MaxCommand {
		return c, refuse(ReasonOversized, "a command of more than %d bytes", MaxCommand)
	}
	var w commandWire
	if err := strictjson.Unmarshal(b, &w); err != nil {
		return c, refuseJSON(err)
	}
	for _, id := range []string{w.ID, w.Server, w.Session} {
		if id != "" && !validID(id) {
			return c, refuse(ReasonMalformed, "an id, server or session with a character that none has")
		}
	}
	c.ID = w.ID
	var known bool
	if c.Action, known = parseAction(w.Action); !known {
		if w.Action == "" {
			return c, refuse(ReasonMalformed, "a command without an action")
		}
		return c, refuse(ReasonUnsupported, "an unknown action")
	}
	if !validToken(w.Token) {
		return c, refuse(ReasonMalformed, "a token that is none")
	}
	c.Server, c.Session, c.Token = w.Server, w.Session, bytesOf(w.Token)
	var err error
	c.Offer, err = unseal(w.Offer)
	return c, err
}

// MarshalJSON writes the command as it travels.
func (c Command) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(commandWire{
		ID: c.ID, Action: string(c.Action), Server: c.Server, Session: c.Session,
		Token: string(c.Token), Offer: base64.RawURLEncoding.EncodeToString(c.Offer),
	})
	if err == nil && len(b) > MaxCommand {
		return nil, refuse(ReasonOversized, "a command of %d bytes, at most %d", len(b), MaxCommand)
	}
	return b, err
}

// UnmarshalJSON is ParseCommand.
func (c *Command) UnmarshalJSON(b []byte) error {
	p, err := ParseCommand(b)
	if err == nil {
		*c = *p
	}
	return err
}

// unseal decodes the base64url of an offer.
func unseal(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, refuse(ReasonMalformed, "an offer that is no base64url")
	}
	return b, nil
}

// refuseJSON gives an error of strictjson this package's type.
func refuseJSON(err error) error {
	var e *strictjson.Error
	if errors.As(err, &e) {
		return &Error{Reason: e.Reason, Err: e.Err}
	}
	return &Error{Reason: ReasonMalformed, Err: fmt.Errorf("not an object: %w", err)}
}

// bytesOf returns nil for an empty s.
func bytesOf(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}
