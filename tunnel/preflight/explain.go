package preflight

import (
	"maps"
	"slices"
	"strings"
)

// Explain says in words what a result means, and what to do about it; todo is empty where
// there is nothing. Of names and codes that this release does not know both are empty.
func Explain(check, code string) (what, todo string) {
	if check == "ssh" || check == "smb" || check == "rdp" || strings.HasPrefix(check, "tcp_") {
		check = "service"
	}
	w, ok := words[check+"."+code]
	if !ok {
		w = words[code]
	}
	return w[0], w[1]
}

// words are those of a check's code, or of a code that several checks have.
var words = map[string][2]string{
	"service.listening":   {"It listens.", ""},
	"service.refused":     {"Nothing listens there.", "Start the service, or take its port out of what the agent offers."},
	"service.no_answer":   {"It does not answer.", "See whether the service hangs, or a firewall on the device drops what comes from the device itself."},
	"service.forbidden":   {"The system forbids the connection.", "See what security software on the device forbids the agent."},
	"service.unreachable": {"It cannot be reached from the device.", "Check the address that the agent's configuration gives for the port."},

	"rdp_settings.nla":         {"Remote Desktop is on and requires network level authentication.", ""},
	"rdp_settings.no_nla":      {"Remote Desktop does not require network level authentication.", "Require it in the settings of Remote Desktop: without it the password reaches whoever carries the session."},
	"rdp_settings.off":         {"Remote Desktop is off.", "Turn it on in Settings > System > Remote Desktop, or by group policy."},
	"rdp_settings.replaced":    {"Another library than Windows' own serves Remote Desktop.", "Updates of Windows break such libraries: try a session after each, and keep another way in."},
	"rdp_settings.not_offered": {"The agent does not offer RDP.", ""},
	"rdp_settings.not_here":    {"Only Windows has these settings.", ""},

	"firewall.lets_out":   {"The firewall lets programs out.", ""},
	"firewall.blocks_out": {"The firewall blocks what goes out without a rule.", "Add an outbound rule for the agent's program, UDP included."},
	"firewall.no_rights":  {"This system shows its firewall to administrators only.", ""},

	"clock.right":        {"The clock is right.", ""},
	"clock.behind":       {"The clock is behind.", "Set it and see why it is not kept: time service, battery."},
	"clock.ahead":        {"The clock is ahead.", "Set it and see why it is not kept: time service, battery."},
	"clock.no_reference": {"Nobody has told the device the time since its agent began.", ""},

	"addresses.clear":   {"No network of the device has addresses of the tunnels.", ""},
	"addresses.inside":  {"Networks of the device have addresses of the tunnels; they do not meet, as tunnels are within the agent.", ""},
	"addresses.overlap": {"Networks of the device have addresses of the tunnels.", "Use mode = \"driverless\", or another pool in the deployment."},

	"driver.none_needed": {"Tunnels are within the agent and need no driver.", ""},
	"driver.ready":       {"An interface can be made.", ""},
	"driver.no_driver":   {"This system has no driver for an interface.", "Use mode = \"driverless\", or load the system's TUN driver."},
	"driver.no_rights":   {"The agent may not make an interface.", "Use mode = \"driverless\", or run the agent with the right to (CAP_NET_ADMIN on Linux)."},

	"unreadable": {"The system did not tell.", ""},
	"too_slow":   {"It took too long.", ""},
}

// Codes returns every CHECK.CODE that Explain has words for, sorted; those of services
// begin with "service", and codes that several checks have stand alone.
func Codes() []string { return slices.Sorted(maps.Keys(words)) }
