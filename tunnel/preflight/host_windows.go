package preflight

import (
	"errors"
	"net/netip"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

func networks() ([]netip.Prefix, error) {
	list, err := interfaces()
	if err != nil {
		return nil, err
	}
	var table *windows.MibIpForwardTable2
	if err := windows.GetIpForwardTable2(windows.AF_INET, &table); err != nil {
		return nil, err
	}
	defer windows.FreeMibTable(unsafe.Pointer(table))
	for _, r := range table.Rows() {
		to := (*windows.RawSockaddrInet4)(unsafe.Pointer(&r.DestinationPrefix.Prefix))
		list = append(list, netip.PrefixFrom(netip.AddrFrom4(to.Addr), int(r.DestinationPrefix.PrefixLength)))
	}
	return list, nil
}

// There is no adapter for Windows yet.
func adapter() (code string) { return "no_driver" }

const (
	serverKey    = `SYSTEM\CurrentControlSet\Control\Terminal Server`
	serverPolicy = `SOFTWARE\Policies\Microsoft\Windows NT\Terminal Services`
	serviceKey   = `SYSTEM\CurrentControlSet\Services\TermService\Parameters`
	wallKey      = `SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\`
	wallPolicy   = `SOFTWARE\Policies\Microsoft\WindowsFirewall\`
)

// rdp reads what Windows' RDP server does. A policy wins over what an administrator set.
func rdp() (f rdpFacts, err error) {
	denied, err := number("fDenyTSConnections", serverPolicy, serverKey)
	if err != nil {
		return f, err
	}
	// Absent, it is not required.
	nla, err := number("UserAuthentication", serverPolicy, serverKey+`\WinStations\RDP-Tcp`)
	if err != nil && !errors.Is(err, registry.ErrNotExist) {
		return f, err
	}
	f.off, f.nla = denied != 0, nla != 0
	f.foreign, err = foreign()
	return f, err
}

// foreign reports whether another library than Windows' own is the RDP server: that is
// how programs make client editions of Windows take several sessions.
func foreign() (bool, error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, serviceKey, registry.QUERY_VALUE)
	if err != nil {
		return false, ignoreAbsent(err)
	}
	defer k.Close()
	path, _, err := k.GetStringValue("ServiceDll")
	if err != nil {
		return false, ignoreAbsent(err)
	}
	if path, err = registry.ExpandString(path); err != nil {
		return false, err
	}
	dir, err := windows.GetSystemDirectory()
	return err == nil && !strings.EqualFold(path, dir+`\termsrv.dll`), err
}

// profiles reads the firewall's kinds of networks.
func profiles() (list []profile, err error) {
	for _, p := range []struct{ name, set, policy string }{
		{"domain", "DomainProfile", "DomainProfile"},
		{"private", "StandardProfile", "PrivateProfile"},
		{"public", "PublicProfile", "PublicProfile"},
	} {
		on, err := number("EnableFirewall", wallPolicy+p.policy, wallPolicy+p.set, wallKey+p.set)
		if err != nil {
			return nil, err
		}
		out, err := number("DefaultOutboundAction", wallPolicy+p.policy, wallPolicy+p.set, wallKey+p.set)
		if err := ignoreAbsent(err); err != nil {
			return nil, err
		}
		list = append(list, profile{p.name, on != 0, out != 0})
	}
	return list, nil
}

// number is a value of the first key that has it.
func number(name string, keys ...string) (uint64, error) {
	for _, path := range keys {
		k, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE)
		if errors.Is(err, registry.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		n, _, err := k.GetIntegerValue(name)
		_ = k.Close()
		if !errors.Is(err, registry.ErrNotExist) {
			return n, err
		}
	}
	return 0, registry.ErrNotExist
}

func ignoreAbsent(err error) error {
	if errors.Is(err, registry.ErrNotExist) {
		return nil
	}
	return err
}
