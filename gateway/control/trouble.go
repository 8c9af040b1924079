package control

import (
	"slices"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// How long what was seen counts as trouble. What a device does again counts again.
const (
	troubleFor = 24 * time.Hour   // another key, two runs
	refusedFor = 15 * time.Minute // commands that it should not have refused
)

// trouble is what is wrong with a device, the gravest first.
func (c *Control) trouble(d *device, v client.Device, now time.Time) []string {
	var all []string
	add := func(is bool, code string) {
		if is {
			all = append(all, code)
		}
	}
	add(!d.row.ClonedAt.IsZero() && !now.After(d.row.ClonedAt.Add(troubleFor)), client.TroubleClone)
	add(d.row.Foreign != "" && !now.After(d.row.ForeignAt.Add(troubleFor)), client.TroubleForeignKey)
	add(!d.refused.IsZero() && !now.After(d.refused.Add(refusedFor)), client.TroubleRefused)
	add(d.row.LastFailed != "", client.TroubleLastFailed+d.row.LastFailed)
	for _, check := range d.failing {
		add(true, client.TroublePreflight+check)
	}
	add(v.Online != client.Online, v.Online)
	add(v.Online == client.Online && v.Prekeys == 0, client.TroubleNoPrekeys)
	return all
}

// turns is after which time a device looks different though nothing happens; zero: never.
func (d *device) turns(now time.Time) (next time.Time) {
	for _, t := range []struct {
		from time.Time
		at   time.Time
	}{
		{d.row.Due, d.row.Due},
		{d.row.Due, lateUntil(d.row.Seen, d.row.Due)},
		{d.row.ClonedAt, d.row.ClonedAt.Add(troubleFor)},
		{d.row.ForeignAt, d.row.ForeignAt.Add(troubleFor)},
		{d.refused, d.refused.Add(refusedFor)},
	} {
		if !t.from.IsZero() && !now.After(t.at) {
			next = sooner(next, t.at)
		}
	}
	return next
}

// troubles reports whether a command that a device refused for code says that its
// configuration and control's do not fit. What is forged, came twice or too late says
// nothing of the device; nor do messages in its name that control does not believe: who
// has the broker could make some for the whole fleet.
func troubles(code string) bool {
	return slices.Contains([]string{
		keys.ReasonUnknownSigner, keys.ReasonOutOfScope, keys.ReasonStaleEpoch, keys.ReasonWrongIssuer, keys.ReasonNodeNotAllowed,
		keys.ReasonPortNotAllowed, keys.ReasonUnknownCrit, keys.ReasonUnsupported, keys.ReasonOutOfOrder,
	}, code)
}

// knownNAT is what a device says of its network, if it is a word that people are shown:
// a later release may have others, and so may a device that makes them up.
func knownNAT(class string) string {
	if slices.Contains(natClasses, class) {
		return class
	}
	return ""
}

// natClasses are the words of nat.Report for what a network is.
var natClasses = func() []string {
	all := []string{"translated", "ipv6_only", "udp_blocked"}
	classes := []string{"open", "endpoint_independent", "address_dependent", "address_and_port_dependent"}
	for _, mapping := range classes {
		for _, filtering := range append([]string{"unknown"}, classes...) {
			all = append(all, mapping+"/"+filtering)
		}
	}
	return all
}()
