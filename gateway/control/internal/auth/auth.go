// Package auth says who may do what: roles, device groups and the one function
// that decides. It does not know how a user proved who he is.
package auth

import (
	"net/http"
	"slices"
	"strings"

	"github.com/boothwire/boothwire/gateway/control/client"
)

// Role is what a user may do; each includes those before it.
type Role string

// The roles, the lowest first.
const (
	Viewer   Role = "viewer"   // sees devices, sessions and nodes of his groups
	Operator Role = "operator" // opens sessions, and changes his own
	Approver Role = "approver" // changes the sessions of others, reads the audit
	Admin    Role = "admin"    // registers devices, nodes and tokens

	// Relay is none of them: a relay learns which sessions are over, and nothing else.
	Relay Role = "relay"
)

func (r Role) rank() int {
	return slices.Index([]Role{Viewer, Operator, Approver, Admin}, r)
}

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return r.rank() >= 0 || r == Relay }

// User is who calls.
type User struct {
	Name   string
	Role   Role
	Groups []string // of devices; none: all
}

// InGroup reports whether devices of a group are the user's to see.
func (u User) InGroup(group string) bool {
	return len(u.Groups) == 0 || slices.Contains(u.Groups, group)
}

// Action is what a user wants to do.
type Action string

// The actions.
const (
	View     Action = "view"     // one device or session, or a list of them
	Open     Action = "open"     // open or join a session
	Change   Action = "change"   // extend or close a session that he is in
	Override Action = "override" // extend or close the session of others
	Audit    Action = "audit"    // read the audit
	Manage   Action = "manage"   // devices, nodes, tokens
	Revoked  Action = "revoked"  // follow which sessions are over
)

// Request is one thing that a user wants to do.
type Request struct {
	Action         Action
	Device         string // that it is about; empty: none
	Group          string // of that device
	Reason, Ticket string // why, for Open
}

// Policy is what a deployment asks for beyond roles and groups.
type Policy struct {
	RequireReason bool
	RequireTicket bool
}

// needs is the lowest role for each action.
func needs(a Action) Role {
	switch a {
	case View:
		return Viewer
	case Open, Change:
		return Operator
	case Override, Audit:
		return Approver
	}
	return Admin
}

// Authorise decides whether u may do what r says; a refusal is a *client.Error.
// Every decision about users in control is made here. Whoever may not see a device
// is told that it does not exist.
func (p Policy) Authorise(u User, r Request) error {
	switch {
	case !u.Role.Valid():
		return &client.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Detail: "a bearer token is needed"}
	case u.Role == Relay && r.Action == Revoked:
		return nil
	case r.Device != "" && !u.InGroup(r.Group):
		return &client.Error{Status: http.StatusNotFound, Code: "not_found", Detail: "no such device or session"}
	case u.Role.rank() < needs(r.Action).rank():
		return &client.Error{Status: http.StatusForbidden, Code: "forbidden", Detail: "needs the role " + string(needs(r.Action))}
	case (r.Action == Manage || r.Action == Audit || r.Action == Revoked) && len(u.Groups) > 0:
		return &client.Error{Status: http.StatusForbidden, Code: "forbidden", Detail: "needs a user of all device groups"}
	case r.Action == Open && p.RequireReason && strings.TrimSpace(r.Reason) == "":
		return &client.Error{Status: http.StatusUnprocessableEntity, Code: "reason_required", Detail: "say why"}
	case r.Action == Open && p.RequireTicket && strings.TrimSpace(r.Ticket) == "":
		return &client.Error{Status: http.StatusUnprocessableEntity, Code: "ticket_required", Detail: "name the ticket"}
	}
	return nil
}
