//go:build !linux && !windows

package preflight

import "net/netip"

func networks() ([]netip.Prefix, error) { return interfaces() }

func adapter() (code string) { return "no_driver" }

func rdp() (rdpFacts, error) { return rdpFacts{}, errNotHere }

func profiles() ([]profile, error) { return nil, errPrivileges }
