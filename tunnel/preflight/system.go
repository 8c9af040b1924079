package preflight

import (
	"errors"
	"strings"
)

// rdpFacts is how this system's own RDP server is set up.
type rdpFacts struct {
	off     bool // connections are denied
	nla     bool // network level authentication is required
	foreign bool // another library than Windows' serves it
}

// profile is one of the firewall's, as it applies to the networks of its kind.
type profile struct {
	name      string
	on        bool
	blocksOut bool // what no rule lets out
}

// errNotHere is of what this system does not have, errPrivileges of what it does not tell
// without rights.
var (
	errNotHere    = errors.New("not on this system")
	errPrivileges = errors.New("only with more rights")
)

// why is the code of what could not be found.
func why(err error) Result {
	switch {
	case errors.Is(err, errNotHere):
		return Result{State: Unknown, Code: "not_here"}
	case errors.Is(err, errPrivileges):
		return Result{State: Unknown, Code: "no_rights"}
	}
	return Result{State: Unknown, Code: "unreadable"}
}

// rdp judges the system's RDP server, if RDP is offered.
func (c *Config) rdp(h host) Result {
	if !c.offers(3389) {
		return Result{State: Unknown, Code: "not_offered"}
	}
	f, err := h.rdp()
	switch {
	case err != nil:
		return why(err)
	case f.off:
		return Result{State: Warn, Code: "off"}
	case f.foreign:
		return Result{State: Warn, Code: "replaced"}
	case !f.nla:
		return Result{State: Warn, Code: "no_nla"}
	}
	return Result{State: OK, Code: "nla"}
}

// firewall judges whether a tunnel gets out. Nothing has to get in: services are reached
// from this machine itself.
func firewall(list []profile, err error) Result {
	if err != nil {
		return why(err)
	}
	var shut []string
	for _, p := range list {
		if p.on && p.blocksOut {
			shut = append(shut, p.name)
		}
	}
	if len(shut) > 0 {
		return Result{State: Warn, Code: "blocks_out", Detail: strings.Join(shut, " ")}
	}
	return Result{State: OK, Code: "lets_out"}
}
