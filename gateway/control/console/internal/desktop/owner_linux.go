package desktop

import (
	"bufio"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ownerOf returns the user whose process has the far end of c; false: that is not in the
// network of this process, or c has ended.
func ownerOf(c net.Conn) (uid uint32, here bool) {
	near, errNear := netip.ParseAddrPort(c.LocalAddr().String())
	far, errFar := netip.ParseAddrPort(c.RemoteAddr().String())
	if errNear != nil || errFar != nil {
		return 0, false
	}
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		uid, here = ownerIn(f, plain(far), plain(near))
		f.Close()
		if here {
			return uid, true
		}
	}
	return 0, false
}

// plain is an address as it is compared.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone("").Unmap(), a.Port())
}

// ownerIn finds the user of a connection in a table of the kernel's (proc(5),
// /proc/net/tcp).
func ownerIn(table io.Reader, local, remote netip.AddrPort) (uid uint32, ok bool) {
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[3] != "01" { // established
			continue
		}
		if at, ok := tableAddress(f[1]); !ok || at != local {
			continue
		}
		if to, ok := tableAddress(f[2]); !ok || to != remote {
			continue
		}
		n, err := strconv.ParseUint(f[7], 10, 32)
		return uint32(n), err == nil
	}
	return 0, false
}

// tableAddress reads "0100007F:1F90": words of four bytes, as this machine has them in
// its memory, which is the lowest first on all that boothwire is built for.
func tableAddress(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(host)
	n, errPort := strconv.ParseUint(port, 16, 16)
	if err != nil || errPort != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), ok
}
